# SPDX-License-Identifier: Apache-2.0
"""Whom selectors and whole namespaces reach now, and who can make it more: what a reader of a plan should know. Pure."""

from collections.abc import Iterable, Iterator
from typing import Final

from podpass.config.federation import AccountSelector, Federation, Workload
from podpass.federate.desired.selection import Match, Selected, command, described
from podpass.federate.model.change import Change
from podpass.federate.model.plan import Caution
from podpass.names import ServiceAccountRef

_SHOWN: Final = 10


def cautions(selected: Selected) -> Iterator[Caution]:
    """Return a word on each selector and on each namespace."""
    for match in selected.matches:
        yield from _of_match(selected.federation, match)
    for workload in selected.federation.workloads:
        if workload.is_namespace:
            yield _of_namespace(selected, workload)


def foreign(changes: Iterable[Change]) -> Iterator[Caution]:
    """Return a word on each config map that a selector asks for and that somebody else has made."""
    for change in changes:
        name = f"{change.identity['namespace']}/{change.identity['name']}"
        yield Caution(
            "selected-config-map",
            f"The config map {name}, which {change.origin} asks for, is somebody else's, so it is left as it is. "
            f"`kubectl -n {change.identity['namespace']} delete configmap {change.identity['name']}` makes room for podpass's.",
        )


def _of_match(federation: Federation, match: Match) -> Iterator[Caution]:
    selector, where = match.selection.selector, _where(federation, match.selection.path)
    if not (match.accounts or match.elsewhere or match.unfit or match.is_too_wide):
        yield Caution(
            "selector-empty",
            f"The selector of {where} finds no account: it looks for {described(selector)}. Nobody gets its roles now. "
            f"`{command(selector)}` asks the same.",
        )
    if match.accounts:
        yield Caution(
            "selected-accounts",
            f"The selector of {where} finds {_counted(match.accounts)}: {_listed(match.accounts)}. "
            f"{_who_may_join(selector)} can give it {_rights(match.selection.pattern)}.",
        )
    if match.elsewhere:
        yield Caution(
            "selected-elsewhere",
            f"The selector of {where} finds {_listed(match.elsewhere)}, too. The file names it, or an earlier selector has it: "
            "what is written there holds, and nothing of this entry.",
        )
    if match.unfit:
        yield Caution(
            "selected-unfit",
            f"The selector of {where} finds {_listed(match.unfit)}, of which Google could make no principal: google.subject has at most "
            "127 bytes, and the mapping has to give a value. Left out.",
        )


def _who_may_join(selector: AccountSelector) -> str:
    labels = ", ".join(selector.labels.keys())
    of_namespace = " and its namespace" if selector.namespace_labels else ""
    if not labels or selector.labels.takes_unlabelled:
        return "Whoever may create a service account there"
    return f"Whoever may label a service account there ({labels}){of_namespace}"


def _of_namespace(selected: Selected, workload: Workload) -> Caution:
    namespace = workload.service_account.namespace
    return Caution(
        "namespace-members",
        f"{_where(selected.federation, workload.path)} is the whole namespace {namespace}: {_census(selected.population.get(namespace))}. "
        f"Each account that is made there later has {_rights(workload)}, too, and so has each pod that names none: it runs as `default`.",
    )


def _census(names: tuple[str, ...] | None) -> str:
    """Say how many accounts live in a namespace now, and which."""
    if names is None:
        return "how many accounts it has, the operator may not see"
    if not names:
        return "no account is there now"
    return f"{len(names)} account{'' if len(names) == 1 else 's'} now ({_shown(names)})"


def _rights(workload: Workload) -> str:
    account = workload.google_service_account
    if account:
        return f"everything that {account.email} has"
    roles = [*workload.roles, *(grant.role for grant in workload.grants)]
    return ", ".join(dict.fromkeys(roles)) or "a principal at Google, without a role"


def _where(federation: Federation, path: str) -> str:
    return f"{path} ({federation.source.where(path)})"


def _counted(accounts: tuple[ServiceAccountRef, ...]) -> str:
    return f"{len(accounts)} account{'' if len(accounts) == 1 else 's'}"


def _listed(accounts: Iterable[ServiceAccountRef]) -> str:
    return _shown([str(account) for account in accounts])


def _shown(names: Iterable[str]) -> str:
    known = list(names)
    rest = len(known) - _SHOWN
    return ", ".join(known[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
