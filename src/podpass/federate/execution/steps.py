# SPDX-License-Identifier: Apache-2.0
"""From changes to a graph of steps: what is done at once, what has to wait for what. Pure.

- Members of one IAM policy are one step: one read, one write.
- Nothing is taken away before all that is new stands.
- Trust goes before what it rests on: the provider before its published keys, those before the bucket; members before their account.
- A provider that comes back from deletion comes back with its old keys and rules. Its pool is closed (disabled) meanwhile and opened when
  the provider is right, so that no trust of the past is live in between.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from podpass.federate.model.change import Action, Change
from podpass.federate.model.resource import Kind, Resource, kind_of

_MAKES_NEW = frozenset({Action.CREATE, Action.UNDELETE})


class Verb(StrEnum):
    """What a step does."""

    MAKE = "make"
    WRITE_POLICY = "write policy"
    CLOSE = "close"
    OPEN = "open"
    TAKE_AWAY = "take away"


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of work.

    Attributes:
        key: Names it: an address, a policy's target, or an address with what is done to it.
        verb: See `Verb`.
        changes: What it makes true; several for a policy, none for closing a pool.
        after: Keys of the steps that come first.
        is_patient: It rests on something so new that Google may not know it everywhere yet.
    """

    key: str
    verb: Verb
    changes: tuple[Change, ...]
    after: frozenset[str]
    is_patient: bool


def graph(changes: Iterable[Change], desired: Mapping[str, Resource], unconfirmed: Iterable[str] = ()) -> dict[str, Step]:
    """Return the steps by key.

    Args:
        changes: The plan's.
        desired: The plan's resources by address; their `needs` order the making.
        unconfirmed: Addresses that an interrupted run may have made a moment ago.
    """
    return _Graph(tuple(changes), desired, frozenset(unconfirmed)).build()


class _Graph:
    def __init__(self, changes: tuple[Change, ...], desired: Mapping[str, Resource], unconfirmed: frozenset[str]) -> None:
        self.desired = desired
        self.making = [change for change in changes if change.action is not Action.DELETE]
        self.removing = [change for change in changes if change.action is Action.DELETE]
        self.fresh = unconfirmed | {change.address for change in changes if change.action in _MAKES_NEW}
        self.key_of = {change.address: _key(change) for change in changes}
        self.steps: dict[str, Step] = {}

    def build(self) -> dict[str, Step]:
        for key, changes in _grouped(self.making).items():
            self._make(key, changes)
        self._gate()
        made = frozenset(self.steps)
        for key, changes in _grouped(self.removing).items():
            if key in self.steps:  # members come and go in one write
                known = self.steps[key]
                self.steps[key] = Step(key, known.verb, (*known.changes, *changes), known.after, known.is_patient)
            else:
                verb = Verb.WRITE_POLICY if changes[0].kind.is_policy_item else Verb.TAKE_AWAY
                self.steps[key] = Step(key, verb, changes, made | self._before_removal(changes[0]), is_patient=False)
        return self.steps

    def _make(self, key: str, changes: tuple[Change, ...]) -> None:
        needed = frozenset().union(*(self._closure(change.address) for change in changes))
        after = frozenset(self.key_of[address] for address in needed if address in self.key_of and self.key_of[address] != key)
        after -= {self.key_of[change.address] for change in self.removing}
        verb = Verb.WRITE_POLICY if changes[0].kind.is_policy_item else Verb.MAKE
        self.steps[key] = Step(key, verb, changes, after, is_patient=bool(needed & self.fresh))

    def _closure(self, address: str) -> frozenset[str]:
        found: set[str] = set()
        waiting = [address]
        while waiting:
            resource = self.desired.get(waiting.pop())
            new = set(resource.needs) - found if resource else set()
            found |= new
            waiting += new
        return frozenset(found)

    def _gate(self) -> None:
        """Close and open the pool around a provider that comes back, and open it last wherever it is found closed."""
        pool = next((one for one in self.desired.values() if one.kind is Kind.POOL), None)
        providers = [change for change in self.making if change.kind is Kind.PROVIDER]
        provider = next((one for one in providers if one.action is Action.UNDELETE), providers[0] if providers else None)
        if pool is None:
            return
        change = next((one for one in self.making if one.kind is Kind.POOL), None)
        returns = provider is not None and provider.action is Action.UNDELETE and bool(provider.fields)
        if opens_later(change) or returns:
            closed_already = change is not None and (change.action in _MAKES_NEW or opens_later(change))
            if not closed_already and provider is not None:
                close = f"{pool.address} (close)"
                self.steps[close] = Step(close, Verb.CLOSE, (), frozenset(self.steps) & {pool.address}, is_patient=False)
                known = self.steps[provider.address]
                self.steps[provider.address] = Step(known.key, known.verb, known.changes, known.after | {close}, known.is_patient)
            before = frozenset(key for key in self.steps if kind_or_none(key) in {Kind.POOL, Kind.PROVIDER})
            self.steps[f"{pool.address} (open)"] = Step(f"{pool.address} (open)", Verb.OPEN, (), before, is_patient=True)

    def _before_removal(self, change: Change) -> frozenset[str]:
        """Return the keys of the removals that come before this one."""
        first = {
            Kind.POOL: {Kind.PROVIDER},
            Kind.OBJECT: {Kind.PROVIDER},
            Kind.BUCKET: {Kind.OBJECT, Kind.PROVIDER, Kind.GRANT},
            Kind.ACCOUNT: {Kind.BINDING, Kind.GRANT},
        }.get(change.kind, {Kind.PROVIDER} if change.identity.get("member") == "allUsers" else set())
        return frozenset(_key(other) for other in self.removing if other.kind in first)


def opens_later(change: Change | None) -> bool:
    """Whether a pool's change ends with opening it, which has to wait for its provider."""
    if change is None or change.kind is not Kind.POOL:
        return False
    return change.action is Action.UNDELETE or any(field.name == "disabled" and field.before for field in change.fields)


def kind_or_none(key: str) -> Kind | None:
    """Return the kind of the address that a step's key begins with; None for a policy."""
    return None if key.startswith("policy of ") else kind_of(key)


def _key(change: Change) -> str:
    return f"policy of {change.identity['target']}" if change.kind.is_policy_item else change.address


def _grouped(changes: Iterable[Change]) -> dict[str, tuple[Change, ...]]:
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(_key(change), []).append(change)
    return {key: tuple(group) for key, group in groups.items()}
