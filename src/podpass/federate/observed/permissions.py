# SPDX-License-Identifier: Apache-2.0
"""What the operator has to be allowed to do, so that a plan does not fail half way. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from podpass.federate.model.change import Action, Change
from podpass.federate.model.objection import Objection
from podpass.federate.model.resource import Kind

_POOL, _PROVIDER = "iam.workloadIdentityPools", "iam.workloadIdentityPoolProviders"
_SET_POLICY: Final = "resourcemanager.projects.setIamPolicy"
_SET_BUCKET_POLICY: Final = "storage.buckets.setIamPolicy"
_OF_KIND: Final[Mapping[Kind, Mapping[Action, tuple[str, ...]]]] = {
    Kind.API: {Action.CREATE: ("serviceusage.services.enable",)},
    Kind.POOL: {
        Action.CREATE: (f"{_POOL}.create",),
        Action.UPDATE: (f"{_POOL}.update",),
        Action.UNDELETE: (f"{_POOL}.undelete", f"{_POOL}.update"),
        Action.DELETE: (f"{_POOL}.delete",),
    },
    Kind.PROVIDER: {
        Action.CREATE: (f"{_PROVIDER}.create",),
        Action.UPDATE: (f"{_PROVIDER}.update",),
        Action.UNDELETE: (f"{_PROVIDER}.undelete", f"{_PROVIDER}.update"),
        Action.DELETE: (f"{_PROVIDER}.delete",),
    },
    Kind.ACCOUNT: {Action.CREATE: ("iam.serviceAccounts.create",), Action.DELETE: ("iam.serviceAccounts.delete",)},
    Kind.BUCKET: {Action.CREATE: ("storage.buckets.create",), Action.DELETE: ("storage.buckets.delete",)},
    # What is overwritten is deleted [K].
    Kind.OBJECT: {
        Action.CREATE: ("storage.objects.create",),
        Action.UPDATE: ("storage.objects.create", "storage.objects.delete"),
        Action.ADOPT: ("storage.objects.create", "storage.objects.delete"),
        Action.DELETE: ("storage.objects.delete",),
    },
}


# What the bucket itself is asked about.
_ON_BUCKETS: Final = frozenset({"storage.buckets.delete", "storage.objects.create", "storage.objects.delete"})


def asked(project: str, targets: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return, by project, the permissions that are worth asking about before anything else is known."""
    everything = frozenset(
        name for kind, actions in _OF_KIND.items() for names in actions.values() for name in names if name not in _ON_BUCKETS
    )
    found = {project: everything | {_SET_POLICY, "iam.serviceAccounts.setIamPolicy"}}
    for target in targets:
        kind, _, name = target.partition("/")
        if kind == "project" and name != project:
            found[name] = frozenset({_SET_POLICY})
    return found


def _needed(change: Change, project: str, fresh: frozenset[str], published: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """Return where a change needs which permissions: a project, or `bucket/NAME`; none where it is left to the call."""
    kind, _, name = str(change.identity.get("target", "")).partition("/")
    if kind == "project":
        return name, (_SET_POLICY,)
    if kind == "account":
        own = name.endswith(f"@{project}.iam.gserviceaccount.com")
        return project, ("iam.serviceAccounts.setIamPolicy",) if own else ()
    bucket = name or str(change.identity.get("bucket", ""))
    # Left to the call: other people's buckets, and what may be done with one that is not there yet: Google gives owners of the project
    # that by the bucket's first policy, which nobody can be asked about.
    if kind == "bucket":
        return f"bucket/{name}", (_SET_BUCKET_POLICY,) if name in published - fresh else ()
    if change.kind is Kind.OBJECT and bucket in fresh:
        return project, ()
    where = f"bucket/{bucket}" if bucket and bucket not in fresh else project
    return where, _OF_KIND.get(change.kind, {}).get(change.action, ()) if change.fields or change.action is not Action.ADOPT else ()


def needed(changes: Iterable[Change], project: str) -> dict[str, dict[str, list[str]]]:
    """Return who needs what where: project or `bucket/NAME` to permission to addresses.

    Args:
        changes: The plan's.
        project: The federation's project.
    """
    known = tuple(changes)
    fresh = frozenset(str(one.identity["bucket"]) for one in known if one.kind is Kind.BUCKET and one.action is Action.CREATE)
    published = frozenset(str(one.identity["bucket"]) for one in known if one.kind in {Kind.BUCKET, Kind.OBJECT})
    found: dict[str, dict[str, list[str]]] = {}
    for change in known:
        where, names = _needed(change, project, fresh, published)
        for name in names:
            found.setdefault(where, {}).setdefault(name, []).append(change.address)
    return found


def lacking(changes: Iterable[Change], project: str, missing: Mapping[str, frozenset[str]]) -> tuple[Objection, ...]:
    """Return an objection for each permission that a change needs and the operator lacks.

    Args:
        changes: The plan's.
        project: The federation's project.
        missing: By place: what the operator lacks there. A place that could not be asked is left out; a call will tell.
    """
    return tuple(
        Objection(
            "neighbour.not-permitted",
            f"The operator lacks {name} on the {'' if where.startswith('bucket/') else 'project '}{where.replace('bucket/', 'bucket ')}.",
            f"{', '.join(addresses[:3])}{', …' * (len(addresses) > len(addresses[:3]))} needs it.",
            "Ask for a role that holds it (docs/reference/operator-role.md has one), or name other credentials in "
            "GOOGLE_APPLICATION_CREDENTIALS.",
        )
        for where, users in needed(changes, project).items()
        for name, addresses in users.items()
        if name in missing.get(where, ())
    )
