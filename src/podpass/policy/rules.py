# SPDX-License-Identifier: Apache-2.0
"""Rules, and which of them decides.

1. Of all patterns that match the path, the most specific one decides, whatever its methods are (`path_pattern` says which that is). A rule
   for a wider place never opens a narrower one.
2. Of the rules with that pattern, the one that names the method decides; else, for HEAD, the one that names GET; else the one that names no
   methods. Two rules for one pattern and one method are a mistake, so there is never a tie.
3. The rule that decides admits one of its members, if its condition holds. Nothing else does.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import Enum
from typing import Final, NoReturn, Protocol, Self

import msgspec.structs

from podpass.errors import ConfigError
from podpass.policy.members import KubernetesMember, Member
from podpass.policy.path_pattern import PathPattern, Segments, segments_of
from podpass.verify.identity import Identity

# RFC 9110, 9.3; RFC 5789 (PATCH).
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE")


class Condition(Protocol):
    """What must hold of a caller besides; `condition.CelCondition`."""

    def holds(self, identity: Identity | None) -> bool:
        """Tell whether it is true of a caller; an error is no."""
        ...


InGroups = Callable[[Identity, tuple[str, ...]], bool]
"""Tells whether a caller is in one of the Google groups."""


class Request(msgspec.Struct, frozen=True):
    """What a rule looks at.

    Attributes:
        method: As sent; methods are case-sensitive.
        path: Decoded, unambiguous, beginning with a slash.
    """

    method: str
    path: str


class Rule(msgspec.Struct, frozen=True):
    """One rule.

    Attributes:
        name: For logs and metrics.
        paths: At least one.
        members: Whom it admits, groups resolved.
        methods: None means all of them.
        condition: What must hold besides.
        token_review: Whether the API server is asked about a service account's token before it is admitted.
        google_groups: Whose members it admits as well, by email.
    """

    name: str
    paths: tuple[PathPattern, ...]
    members: tuple[Member, ...]
    methods: frozenset[str] | None = None
    condition: Condition | None = None
    token_review: bool = False
    google_groups: tuple[str, ...] = ()
    _named: frozenset[tuple[str, str, str]] = frozenset()

    def __post_init__(self) -> None:
        accounts = [member for member in self.members if isinstance(member, KubernetesMember)]
        msgspec.structs.force_setattr(self, "_named", frozenset((one.issuer, one.namespace, one.name) for one in accounts))

    def refusal_of(self, identity: Identity | None, in_groups: InGroups | None = None) -> "Refusal | None":
        """Say why a caller is not admitted; None for one who is. Groups are asked about where no other member admits."""
        # Nearly every caller is a service account that is named in full: found in one step, however many members there are.
        if (
            identity is None
            or identity.kubernetes is None
            or (identity.issuer_name, (account := identity.kubernetes.service_account).namespace, account.name) not in self._named
        ):
            for member in self.members:
                if member.admits(identity):
                    break
            else:
                if not self.google_groups or identity is None or in_groups is None or not in_groups(identity, self.google_groups):
                    return Refusal.NOT_A_MEMBER
        if self.condition is not None and not self.condition.holds(identity):
            return Refusal.CONDITION
        return None


class Refusal(Enum):
    """Why a caller is not admitted; the value is the code that people search for."""

    NO_RULE = "policy.no-rule"
    NO_METHOD = "policy.no-method"
    NOT_A_MEMBER = "policy.not-a-member"
    CONDITION = "policy.condition"


class Verdict(msgspec.Struct, frozen=True):
    """What the rules say.

    Attributes:
        rule: The rule that decided; None where there is none.
        refusal: None for a caller who is admitted.
    """

    rule: Rule | None
    refusal: Refusal | None

    @property
    def reason(self) -> str:
        """The verdict as half a sentence, for the log."""
        if self.rule is None:
            return "no rule is for this path" if self.refusal is Refusal.NO_RULE else "no rule is for this method on this path"
        if self.refusal is None:
            return f"rule {self.rule.name} admits the caller"
        ending = "does not name" if self.refusal is Refusal.NOT_A_MEMBER else "has a condition that does not hold for"
        return f"rule {self.rule.name} {ending} the caller"

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict is not true or false: look at its refusal")


class RuleTable:
    """Rules in the order in which they decide."""

    __slots__ = ("_literal", "_patterns")

    def __init__(self, places: Mapping[PathPattern, Mapping[str | None, Rule]]) -> None:
        self._literal = {pattern.segments: rules for pattern, rules in places.items() if pattern.is_literal}
        wide = ((pattern, rules) for pattern, rules in places.items() if not pattern.is_literal)
        self._patterns = sorted(wide, key=lambda place: place[0].rank)

    @classmethod
    def of(cls, rules: Iterable[Rule]) -> Self:
        """Put rules in order.

        Raises:
            ConfigError: Two of them are for one pattern and one method.
        """
        places: dict[PathPattern, dict[str | None, Rule]] = {}
        for rule in rules:
            for pattern, method in places_of(rule):
                first = places.setdefault(pattern, {}).setdefault(method, rule)
                if first is not rule:
                    raise ConfigError(conflict(pattern, method, first.name), "", "Make one rule of the two.", code="config.rule-conflict")
        return cls(places)

    def rule_for(self, request: Request) -> Rule | Refusal:
        """Return the rule that decides, or why there is none; see the module for the order."""
        rules = self._rules_for(segments_of(request.path))
        if rules is None:
            return Refusal.NO_RULE
        rule = rules.get(request.method) or (rules.get("GET") if request.method == "HEAD" else None) or rules.get(None)
        return Refusal.NO_METHOD if rule is None else rule

    def _rules_for(self, path: Segments) -> Mapping[str | None, Rule] | None:
        # A literal pattern is more specific than every other one that matches the same path.
        literal = self._literal.get(path)
        return literal if literal is not None else next((rules for pattern, rules in self._patterns if pattern.matches(path)), None)


def places_of(rule: Rule) -> Iterator[tuple[PathPattern, str | None]]:
    """Yield what a rule decides: each of its patterns, with each of its methods or with None for all others."""
    for pattern in dict.fromkeys(rule.paths):
        for method in sorted(rule.methods) if rule.methods is not None else [None]:
            yield pattern, method


def conflict(pattern: PathPattern, method: str | None, first: str) -> str:
    """Say that a place is decided already."""
    return f"{method or 'Every other method'} on {pattern} is decided by rule {first} already."
