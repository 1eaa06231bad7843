# SPDX-License-Identifier: Apache-2.0
"""Which accounts a file's selectors find in the cluster, and who lives in the namespaces that it names whole.

An account that the file names has what is written there and no more, whatever labels it bears. One that several selectors find belongs to
the first of them in the file. Whoever may label an account must not be able to stop a plan: what cannot be a workload is left out and said.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice

from podpass.config.federation import AccountSelector, Federation, Selection, Workload
from podpass.federate.desired import principals
from podpass.federate.model.facts import Facts
from podpass.federate.model.objection import Objection
from podpass.kube.client import KubeClient
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.lists import MANY
from podpass.kube.objects import Thing, list_service_accounts, select_namespaces, select_service_accounts
from podpass.names import ServiceAccountRef
from podpass.wif.limits import SUBJECT_LIMIT_BYTES

Found = dict[ServiceAccountRef, str]
"""Accounts with their uids."""


@dataclass(frozen=True, slots=True)
class Match:
    """What one selector has found.

    Attributes:
        selection: Whose.
        accounts: Those that are its workloads.
        elsewhere: Those that the file names, or that an earlier selector has.
        unfit: Those of which Google could make no principal.
        is_too_wide: There are more than it may find; none of them is its workload then.
    """

    selection: Selection
    accounts: tuple[ServiceAccountRef, ...] = ()
    elsewhere: tuple[ServiceAccountRef, ...] = ()
    unfit: tuple[ServiceAccountRef, ...] = ()
    is_too_wide: bool = False


@dataclass(frozen=True, slots=True)
class Selected:
    """A federation whose selectors have been asked.

    Attributes:
        federation: With a workload for each account that was found.
        matches: What each selector has found, in the order of the file.
        uids: The uids of the accounts that were found.
        population: The accounts of each namespace that a workload is; None: the operator may not list them.
    """

    federation: Federation
    matches: tuple[Match, ...] = ()
    uids: Mapping[ServiceAccountRef, str] = field(default_factory=dict)
    population: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)

    def objections(self) -> Iterator[Objection]:
        """Return the selectors that find more than they may: no plan can be made with what is known of them."""
        for match in self.matches:
            if match.is_too_wide:
                yield _too_many(self.federation, match.selection)


def ask(federation: Federation, cluster: KubeClient, executor: Executor) -> Selected:
    """Ask the cluster whom the selectors mean now. Asks nothing where the file names each workload.

    Raises:
        NeighbourError: The operator may not list, or there is no answer.
    """
    found = list(executor.map(partial(_find, cluster), (one.selector for one in federation.selections)))
    namespaces = [one.service_account.namespace for one in federation.workloads if one.is_namespace]
    uids = {account: uid for accounts in found for account, uid in accounts.items()}
    return Selected(_resolved(federation, matches := _matches(federation, found)), matches, uids, population(cluster, namespaces, executor))


def population(cluster: KubeClient, namespaces: Iterable[str], executor: Executor) -> dict[str, tuple[str, ...] | None]:
    """Return the names of the accounts of namespaces; None where the operator may not list them."""
    names = tuple(dict.fromkeys(namespaces))
    return dict(zip(names, executor.map(partial(_inhabitants, cluster), names), strict=True))


def fitting(selected: Selected, facts: Facts) -> Selected:
    """Return it without the accounts of which Google could make no principal; they may be no fault of who wrote the file."""
    matches = tuple(_fitting(selected.federation, match, facts) for match in selected.matches)
    return replace(selected, matches=matches, federation=_resolved(selected.federation, matches))


def _resolved(federation: Federation, matches: Iterable[Match]) -> Federation:
    found = (match.selection.workload(account) for match in matches for account in match.accounts)
    return replace(federation, workloads=(*_named(federation), *found))


def _named(federation: Federation) -> tuple[Workload, ...]:
    return tuple(one for one in federation.workloads if not one.selected_by)


def _matches(federation: Federation, found: Iterable[Found]) -> tuple[Match, ...]:
    had = {one.service_account for one in federation.workloads if not one.is_namespace}
    matches = []
    for selection, accounts in zip(federation.selections, found, strict=True):
        if len(accounts) > selection.selector.at_most:
            matches.append(Match(selection, is_too_wide=True))
            continue
        new = tuple(sorted(accounts.keys() - had))
        matches.append(Match(selection, new, tuple(sorted(accounts.keys() & had))))
        had |= accounts.keys()
    return tuple(matches)


def _fitting(federation: Federation, match: Match, facts: Facts) -> Match:
    unfit = tuple(account for account in match.accounts if not _fits(federation, match.selection, account, facts))
    return replace(match, accounts=tuple(one for one in match.accounts if one not in set(unfit)), unfit=unfit)


def _fits(federation: Federation, selection: Selection, account: ServiceAccountRef, facts: Facts) -> bool:
    mapping, claims = federation.google.attribute_mapping, principals.claims_of(account, facts)
    subject = principals.value(mapping, "google.subject", claims)
    member = principals.value(mapping, principals.attribute_of(selection.pattern), claims)
    return bool(subject and member) and len((subject or "").encode()) <= SUBJECT_LIMIT_BYTES


def _find(cluster: KubeClient, selector: AccountSelector) -> Found:
    """Return the accounts that a selector means; one more than it may mean is enough."""
    return dict(islice(_accounts(cluster, selector), selector.at_most + 1))


def _accounts(cluster: KubeClient, selector: AccountSelector) -> Iterator[tuple[ServiceAccountRef, str]]:
    namespaces = _namespaces(cluster, selector)
    if namespaces is None:
        things = select_service_accounts(cluster, selector.labels)
    elif len(namespaces) < MANY:
        things = _one_by_one(cluster, selector, namespaces)
    else:
        things = _of_many(cluster, selector, namespaces)
    yield from ((account, thing.uid) for account, thing in things)


def _namespaces(cluster: KubeClient, selector: AccountSelector) -> list[str] | None:
    if selector.namespace_labels is not None:
        return select_namespaces(cluster, selector.namespace_labels)
    return list(dict.fromkeys(selector.namespaces)) or None


def _one_by_one(cluster: KubeClient, selector: AccountSelector, namespaces: list[str]) -> Iterator[tuple[ServiceAccountRef, Thing]]:
    for namespace in namespaces:
        yield from select_service_accounts(cluster, selector.labels, namespace)


def _of_many(cluster: KubeClient, selector: AccountSelector, namespaces: list[str]) -> Iterator[tuple[ServiceAccountRef, Thing]]:
    """Ask for all namespaces at once where the operator may, and leave out what is not meant."""
    wanted = frozenset(namespaces)
    try:
        for account, thing in select_service_accounts(cluster, selector.labels):
            if account.namespace in wanted:
                yield account, thing
    except KubeRefusedError as error:
        if error.kind is not FaultKind.FORBIDDEN:
            raise
        yield from _one_by_one(cluster, selector, namespaces)


def _inhabitants(cluster: KubeClient, namespace: str) -> tuple[str, ...] | None:
    try:
        return tuple(sorted(list_service_accounts(cluster, namespace)))
    except KubeRefusedError as error:
        if error.kind is not FaultKind.FORBIDDEN:
            raise
        return None


def _too_many(federation: Federation, selection: Selection) -> Objection:
    limit = selection.selector.at_most
    return Objection(
        "plan.selector-too-wide",
        f"The selector at {federation.source.where(selection.path)} finds more than {limit} accounts.",
        f"It looks for {described(selection.selector)}.",
        f"Look with `{command(selection.selector)}`; then narrow it, or raise atMost ({limit}).",
    )


def described(selector: AccountSelector) -> str:
    """Say in words whom a selector means."""
    who = f"accounts with {selector.labels}" if selector.labels.requirements else "every account"
    if selector.namespace_labels is not None:
        return f"{who} in namespaces with {selector.namespace_labels}"
    return f"{who} in {', '.join(selector.namespaces)}" if selector.namespaces else f"{who} in every namespace"


def command(selector: AccountSelector) -> str:
    """Return the kubectl command that asks the same; namespaces by label are left to the reader."""
    where = f"-n {selector.namespaces[0]}" if len(selector.namespaces) == 1 else "-A"
    labels = f" --selector '{selector.labels}'" if selector.labels.requirements else ""
    return f"kubectl get serviceaccounts {where}{labels}"
