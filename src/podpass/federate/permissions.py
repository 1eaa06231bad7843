# SPDX-License-Identifier: Apache-2.0
"""What the operator has to be allowed to do, so that a plan does not fail half way. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from podpass.federate.change import Action, Change
from podpass.federate.resource import Kind
from podpass.federate.safety import Objection

_POOL, _PROVIDER = "iam.workloadIdentityPools", "iam.workloadIdentityPoolProviders"
_SET_POLICY: Final = "resourcemanager.projects.setIamPolicy"
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
    Kind.BUCKET: {Action.CREATE: ("storage.buckets.create",)},
}


def asked(project: str, targets: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return, by project, the permissions that are worth asking about before anything else is known."""
    everything = frozenset(name for actions in _OF_KIND.values() for names in actions.values() for name in names)
    found = {project: everything | {_SET_POLICY, "iam.serviceAccounts.setIamPolicy"}}
    for target in targets:
        kind, _, name = target.partition("/")
        if kind == "project" and name != project:
            found[name] = frozenset({_SET_POLICY})
    return found


def needed(change: Change, project: str) -> tuple[str, tuple[str, ...]]:
    """Return the project and the permissions on it that a change needs; none where they are not the project's to give."""
    if change.kind.is_policy_item:
        kind, _, name = str(change.identity["target"]).partition("/")
        if kind == "project":
            return name, (_SET_POLICY,)
        own = kind == "account" and name.endswith(f"@{project}.iam.gserviceaccount.com")
        return project, ("iam.serviceAccounts.setIamPolicy",) if own else ()
    return project, _OF_KIND.get(change.kind, {}).get(change.action, ())


def lacking(changes: Iterable[Change], project: str, missing: Mapping[str, frozenset[str]]) -> tuple[Objection, ...]:
    """Return an objection for each permission that a change needs and the operator lacks.

    Args:
        changes: The plan's.
        project: The federation's project.
        missing: By project: what the operator lacks. A project that could not be asked is left out; a call will tell.
    """
    users: dict[tuple[str, str], list[str]] = {}
    for change in changes:
        where, names = needed(change, project)
        for name in names:
            if name in missing.get(where, ()):
                users.setdefault((where, name), []).append(change.address)
    return tuple(
        Objection(
            "neighbour.not-permitted",
            f"The operator lacks {name} on the project {where}.",
            f"{', '.join(addresses[:3])}{', …' * (len(addresses) > len(addresses[:3]))} needs it.",
            "Ask for a role that holds it, or name other credentials in GOOGLE_APPLICATION_CREDENTIALS.",
        )
        for (where, name), addresses in users.items()
    )
