# SPDX-License-Identifier: Apache-2.0
"""Asks whether the operator may do what a plan needs, so that it is refused before its first change and not half way."""

from collections.abc import Iterable, Mapping

from podpass.federate.model.change import Action, Change
from podpass.federate.model.objection import Objection
from podpass.federate.model.resource import Kind
from podpass.federate.observed import permissions
from podpass.federate.records.receipt import NAMESPACE
from podpass.google import projects, storage
from podpass.google.fault import GoogleRefusedError
from podpass.google.rest import GoogleClient, Request
from podpass.kube.client import KubeClient
from podpass.kube.fault import KubeRefusedError
from podpass.kube.reviews import Access, may


def lacking(
    google: GoogleClient, changes: Iterable[Change], project: str, asked: Mapping[str, frozenset[str]] | None = None
) -> tuple[Objection, ...]:
    """Return an objection for each permission that the changes need and the operator lacks, and for each bucket that is not there.

    Args:
        google: Google, as the operator.
        changes: What is to be done.
        project: The federation's project.
        asked: By project: what the operator lacks, where that is known already; None: nothing is known.
    """
    known = tuple(changes)
    missing = dict(asked or {})
    for where, users in permissions.needed(known, project).items():
        if asked is None or where.startswith("bucket/"):
            found = _missing(google, where, users)
            if found is not None:
                missing[where] = found
    return (*permissions.lacking(known, project, missing), *_absent_buckets(google, known))


def _absent_buckets(google: GoogleClient, changes: tuple[Change, ...]) -> tuple[Objection, ...]:
    """Object to grants on buckets that nobody has and the plan does not make: a mistyped one would stop apply half way."""
    made = {change.address for change in changes if change.kind is Kind.BUCKET}
    granted: dict[str, str] = {}
    for change in changes:
        target = str(change.identity.get("target", ""))
        if change.action is Action.CREATE and target.startswith("bucket/") and target not in made:
            granted.setdefault(target, change.address)
    return tuple(
        Objection(
            "config.no-bucket",
            f"There is no {target.replace('/', ' ')}.",
            f"{address} needs it, and podpass makes no bucket but the issuer's.",
            "Correct it in the federation file, or make it: `gcloud storage buckets create`.",
        )
        for target, address in granted.items()
        if not _is_bucket(google, target.partition("/")[2])
    )


def _is_bucket(google: GoogleClient, name: str) -> bool:
    try:
        return storage.get_bucket(google, name) is not None
    except GoogleRefusedError:  # somebody else's, perhaps: a call will tell
        return True


def unknown_roles(google: GoogleClient, changes: Iterable[Change]) -> tuple[Objection, ...]:
    """Return an objection for each role that is to be granted and that Google does not have: a mistyped one would stop apply half way.

    Predefined roles only: everybody may look those up, a project's own not.
    """
    granted: dict[str, list[str]] = {}
    for change in changes:
        role = str(change.identity.get("role", ""))
        if change.kind is Kind.GRANT and change.action is Action.CREATE and role.startswith("roles/"):
            granted.setdefault(role, []).append(change.address)
    return tuple(
        Objection(
            "config.role",
            f"Google has no role {role}.",
            f"{addresses[0]} needs it.",
            "Correct it in the federation file: `gcloud iam roles list` prints those that there are.",
        )
        for role, addresses in granted.items()
        if not _is_role(google, role)
    )


def _is_role(google: GoogleClient, role: str) -> bool:
    try:
        return google.find(Request("GET", "iam", f"/v1/{role}", f"look up {role}")) is not None
    except GoogleRefusedError:  # the question itself is refused: a call will tell
        return True


def not_deletable(cluster: KubeClient, changes: Iterable[Change]) -> tuple[Objection, ...]:
    """Return an objection for each namespace in which the operator may not take config maps away: the receipt's, and those of deletions."""
    deleted = (one for one in changes if one.kind is Kind.CONFIG_MAP and one.action is Action.DELETE)
    namespaces = dict.fromkeys((NAMESPACE, *(str(one.identity["namespace"]) for one in deleted)))
    asked = [Access("delete", "configmaps", namespace=namespace) for namespace in namespaces]
    return tuple(
        Objection(
            "neighbour.not-permitted",
            f"The operator (context {cluster.access.context!r}) may not {access}.",
            "What podpass made there is to be taken away, the receipt last.",
            "Ask for a role that allows it, or name another context in spec.cluster.context.",
        )
        for access in asked
        if not _may(cluster, access)
    )


def _may(cluster: KubeClient, access: Access) -> bool:
    try:
        return may(cluster, access)
    except KubeRefusedError:  # the question itself is not allowed or not known: a call will tell
        return True


def _missing(google: GoogleClient, where: str, names: Iterable[str]) -> frozenset[str] | None:
    """Ask one place; None where the question itself is refused: then a call will tell."""
    try:
        if where.startswith("bucket/"):
            return storage.missing_permissions(google, where.removeprefix("bucket/"), names)
        return projects.missing_permissions(google, where, names)
    except GoogleRefusedError:
        return None
