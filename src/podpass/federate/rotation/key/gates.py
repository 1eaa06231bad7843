# SPDX-License-Identifier: Apache-2.0
"""What has to hold before the next step of a key's rotation, measured at every API server and at Google. Pure.

A gate returns what does not hold yet, in sentences; nothing means that it is open.
"""

from collections.abc import Collection

from podpass.federate.rotation.gates import answered
from podpass.federate.rotation.key.rotation import Rotation
from podpass.federate.rotation.servers import ControlPlane


def announced(rotation: Rotation, plane: ControlPlane) -> list[str]:
    """Every server serves the old keys and one new one, the same."""
    found = answered(plane)
    fresh = {server.name: server.kids - rotation.old for server in plane.servers}
    for server in plane.servers:
        if lost := rotation.old - server.kids:
            found.append(_lost(server.name, lost))
        if not fresh[server.name]:
            found.append(f"{server.name} serves no new key yet.")
    if not found and len(set(fresh.values())) > 1:
        found.append("The servers serve different new keys; all need the same.")
    if not found and len(plane.kids - rotation.old) > 1:
        found.append(f"There are {len(plane.kids - rotation.old)} new keys; a rotation brings one.")
    return found


def publishable(needed: Collection[str], kids: Collection[str]) -> list[str]:
    """What a server serves may become all that Google has."""
    missing = set(needed) - set(kids)
    return [f"A server does not serve {_short(missing)}: Google would forget it. Put it back."] if missing else []


def known_to_google(rotation: Rotation, kids: Collection[str]) -> list[str]:
    """Google has every key that is accepted on the way."""
    missing = rotation.all_kids - set(kids)
    return [f"Google does not have {_short(missing)} yet."] if missing else []


def served(rotation: Rotation, plane: ControlPlane) -> list[str]:
    """Every server serves every key that is accepted on the way."""
    lost = {server.name: rotation.all_kids - server.kids for server in plane.servers}
    return [*answered(plane), *(_lost(name, kids) for name, kids in lost.items() if kids)]


def switched(rotation: Rotation, plane: ControlPlane) -> list[str]:
    """Every server signs with the key that stays, and still serves both."""
    found = served(rotation, plane)
    for server in plane.servers:
        if server.signer != rotation.stays:
            found.append(f"{server.name} signs with {_short({server.signer})}, not yet with {_short({rotation.stays})}.")
    return found


def unswitched(rotation: Rotation, plane: ControlPlane) -> bool:
    """Tell whether a leaving key signs somewhere while every server still serves it: what is written of the switch is not so."""
    still = all(rotation.leaves <= server.kids for server in plane.servers)
    return still and any(server.signer in rotation.leaves for server in plane.servers)


def outlived(rotation: Rotation, plane: ControlPlane) -> list[str]:
    """The last token of the leaving key has ended at every server."""
    ends, now = rotation.wait_ends, min(server.signed_at for server in plane.servers)
    return [f"The last token of the leaving key ends at {ends:%Y-%m-%d %H:%M:%S} UTC."] if ends and ends > now else []


def retired(rotation: Rotation, plane: ControlPlane) -> list[str]:
    """No server serves a key but those that remain, and all sign with the one that stays."""
    found = answered(plane)
    for server in plane.servers:
        if left := server.kids - rotation.remains:
            found.append(f"{server.name} still serves {_short(left)}.")
        if server.signer != rotation.stays:
            found.append(f"{server.name} signs with {_short({server.signer})}, not with {_short({rotation.stays})}.")
    return found


def forgotten(rotation: Rotation, kids: Collection[str]) -> list[str]:
    """Google has no leaving key."""
    left = rotation.leaves & set(kids)
    return [f"Google still trusts {_short(left)}."] if left else []


def _lost(server: str, kids: Collection[str]) -> str:
    return f"{server} does not serve {_short(kids)}: tokens of that key are refused there. Put it back."


def _short(kids: Collection[str]) -> str:
    return ", ".join(f"{kid[:12]}…" for kid in sorted(kids))
