# SPDX-License-Identifier: Apache-2.0
"""What has to hold before the next step of a move to another issuer, measured at every API server and at Google. Pure.

A gate returns what does not hold yet, in sentences; nothing means that it is open.
"""

from collections.abc import Collection
from datetime import datetime

from podpass.federate.records.issuer_move import IssuerMove
from podpass.federate.rotation.gates import answered
from podpass.federate.rotation.servers import ControlPlane


def known_to_google(needed: Collection[str], known: Collection[str], provider: str) -> list[str]:
    """Google has every key of the cluster for a provider's issuer."""
    missing = sorted(set(needed) - set(known))
    kids = ", ".join(f"{kid[:12]}…" for kid in missing)
    return [f"Google does not find {kids} for provider {provider} yet."] if missing else []


def accepted(move: IssuerMove, plane: ControlPlane) -> list[str]:
    """Every server takes tokens of both issuers."""
    wanted = (move.former.issuer, move.coming.issuer)
    lacking = [
        f"{server.name} does not take tokens of {one} yet." for server in plane.servers for one in wanted if one not in server.accepted
    ]
    return [*answered(plane), *lacking]


def brought(by: datetime, plane: ControlPlane) -> list[str]:
    """By every server's clock the kubelets have brought what the config maps say."""
    if all(server.signed_at >= by for server in plane.servers):
        return answered(plane)
    return [f"Kubelets have brought the list of providers to every pod by {by:%H:%M:%S} UTC (computed)."]


def switched(move: IssuerMove, plane: ControlPlane) -> list[str]:
    """Every server signs with the issuer that stays, and still takes tokens of the one that leaves."""
    found = answered(plane)
    stays, leaves = move.stays.issuer, move.leaves.issuer
    for server in plane.servers:
        if server.issuer != stays:
            found.append(f"{server.name} signs with {server.issuer}, not yet with {stays}.")
        if leaves not in server.accepted and not move.is_abrupt:
            found.append(f"{server.name} does not take tokens of {leaves}: those that are in use are refused there. Put it back.")
    return found


def unswitched(move: IssuerMove, plane: ControlPlane) -> bool:
    """Tell whether the leaving issuer signs somewhere while every server still takes it: what is written of the switch is not so."""
    leaves = move.leaves.issuer
    return all(leaves in server.accepted for server in plane.servers) and any(server.issuer == leaves for server in plane.servers)


def outlived(move: IssuerMove, plane: ControlPlane) -> list[str]:
    """The last token of the leaving issuer has ended at every server."""
    ends, now = move.wait_ends, min(server.signed_at for server in plane.servers)
    return [f"The last token of the leaving issuer ends at {ends:%Y-%m-%d %H:%M:%S} UTC."] if ends and ends > now else []


def dropped(move: IssuerMove, plane: ControlPlane) -> list[str]:
    """No server takes tokens of the leaving issuer, and all sign with the one that stays."""
    found = answered(plane)
    stays, leaves = move.stays.issuer, move.leaves.issuer
    for server in plane.servers:
        if server.issuer != stays:
            found.append(f"{server.name} signs with {server.issuer}, not with {stays}.")
        if leaves in server.accepted:
            found.append(f"{server.name} still takes tokens of {leaves}.")
    return found


def unasked(move: IssuerMove, pods: Collection[str] | None) -> list[str]:
    """No pod asks for tokens for the leaving provider any more, unless the file keeps its audience."""
    kept = f"formerIds: [{move.leaves.provider}]"
    keep = f"google.provider: {{id: {move.stays.provider}, {kept}}} and the former issuer" if move.is_back else f"google.provider.{kept}"
    cure = f"Apply their manifests with the audience of {move.stays.provider}, or write {keep}."
    if pods is None:
        return [f"podpass may not list pods, so it cannot tell whether one asks for tokens for {move.leaves.provider}. {cure}"]
    if not pods:
        return []
    names = sorted(pods)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # noqa: PLR2004 - a few, to know them by
    return [f"Pods still ask for tokens for {move.leaves.provider}: {', '.join(names[:3])}{more}. {cure}"]
