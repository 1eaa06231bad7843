# SPDX-License-Identifier: Apache-2.0
"""Where each change comes from: a name in the file, a selector, or an account that a selector does not find any more. Pure.

What lapses is taken away without `--allow-delete`: the file says the same as before, and it says that only accounts with these labels have
it. A receipt alone is no licence for that, since others may write it: the selector has to give that very thing still, and it has to be the
pool's own principal that the file does not name, or the selector's own config map.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from podpass.config.federation import Federation, Selection
from podpass.errors import ConfigError
from podpass.federate.desired import offers
from podpass.federate.desired.desired import by_address, provider_name
from podpass.federate.desired.principals import member_of
from podpass.federate.model.change import Action, Change
from podpass.federate.model.facts import Facts
from podpass.federate.model.resource import Kind, Resource
from podpass.federate.records.receipt import Receipt
from podpass.names import PoolName, Principal


def traced(
    changes: Iterable[Change], desired: Iterable[Resource], receipt: Receipt, federation: Federation, facts: Facts
) -> tuple[Change, ...]:
    """Return the changes with their origin.

    Args:
        changes: The plan's.
        desired: Everything that the file asks for.
        receipt: What podpass made so far.
        federation: The file, with a workload for each account that its selectors found.
        facts: The two sides.
    """
    wanted, terms = by_address(desired), _Terms.of(federation, facts)
    return tuple(_traced(change, wanted.get(change.address), receipt, terms) for change in changes)


@dataclass(frozen=True, slots=True)
class _Terms:
    """What the selectors of a file give, and to whom they do not.

    Attributes:
        offered: What they give.
        pool: Whose principals get it.
        named: Those that the file names: what such a one loses, the file has taken away by naming it.
    """

    offered: frozenset[object]
    pool: PoolName
    named: frozenset[str]

    @classmethod
    def of(cls, federation: Federation, facts: Facts) -> "_Terms":
        offered = frozenset(offer for selection in federation.selections for offer in _offers(selection, federation.google.project))
        named = (one for one in federation.workloads if offered and not one.selected_by)
        pool = provider_name(federation, facts).pool
        return cls(offered, pool, frozenset(member_of(federation, facts, one) for one in named))


def without_foreign(changes: Iterable[Change]) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Return the changes, and those config maps of selected accounts that somebody else has made already.

    Whoever may label an account often may make config maps beside it, too, and must not be able to stop the plan of all others by one.
    """
    known = tuple(changes)
    foreign = tuple(one for one in known if one.action is Action.ADOPT and one.origin and one.kind is Kind.CONFIG_MAP)
    return tuple(one for one in known if one not in foreign), foreign


def _traced(change: Change, resource: Resource | None, receipt: Receipt, terms: _Terms) -> Change:
    if resource is not None:
        return replace(change, origin=resource.origin)
    entry = receipt.entries.get(change.address)
    is_selected = change.action is Action.DELETE and entry is not None and entry.selected
    return replace(change, lapsed=True) if is_selected and _offer(change, terms) in terms.offered else change


def _offer(change: Change, terms: _Terms) -> object:
    """Return what a deletion takes from an account; None where it is nothing that a selector gives."""
    identity = change.identity
    if change.kind is Kind.CONFIG_MAP:
        return "config map", identity["name"], identity["key"]
    if change.kind.is_policy_item and _is_of(str(identity["member"]), terms.pool) and identity["member"] not in terms.named:
        return offers.offer_of(identity)
    return None


def _is_of(member: str, pool: PoolName) -> bool:
    try:
        return Principal.parse(member).pool == pool
    except ConfigError:
        return False


def _offers(selection: Selection, project: str) -> Iterator[object]:
    """Return what a selection gives each account that it finds."""
    pattern = selection.pattern
    if pattern.credentials:
        yield "config map", pattern.credentials.config_map, pattern.credentials.key
    # The account's roles are there whomever the selector finds.
    yield from offers.binding(pattern) if pattern.google_service_account else offers.roles(pattern, project)
