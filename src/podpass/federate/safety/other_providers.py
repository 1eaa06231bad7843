# SPDX-License-Identifier: Apache-2.0
"""The other providers of the federation's pool: whom they trust may come to be one of its principals, and rests on the pool, too. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from podpass.config.cross_checks import is_namespace_claim
from podpass.federate.desired import principals
from podpass.federate.desired.principals import Claims, OtherProvider
from podpass.federate.model.change import LOST_MARK, OF_MANY, Action, Change
from podpass.federate.model.objection import Objection
from podpass.federate.model.resource import Kind
from podpass.federate.safety.situation import Situation
from podpass.names import ServiceAccountRef
from podpass.verify.jwks import KeySet

_SHOWN: Final = 5


def objections(situation: Situation) -> Iterator[Objection]:
    """Return why the pool cannot be shared as it is: two providers make the same principals, or may name a namespace of the other's."""
    yield from _same_principals(situation)
    yield from _foreign_namespaces(situation)


def claimed(changes: Iterable[Change], situation: Situation) -> tuple[Change, ...]:
    """Return the changes; where a pool is adopted that nobody has signed, or undeleted, and others' providers are in it, it says whose."""
    foreign = [
        f"{one.provider_id} ({one.issuer or 'no OIDC issuer'})" for one in situation.others if not _is_of_this_cluster(one, situation)
    ]
    shown = ", ".join(foreign[:_SHOWN]) + (f" and {len(foreign) - _SHOWN} more" if len(foreign) > _SHOWN else "")
    owner = f"{OF_MANY}{shown}"
    return tuple(replace(one, owner=owner) if foreign and _is_of_nobody(one) else one for one in changes)


def _is_of_nobody(change: Change) -> bool:
    is_claimed = change.action is Action.ADOPT and change.owner in {"", LOST_MARK}
    return change.kind is Kind.POOL and (is_claimed or (change.action is Action.UNDELETE and not change.known))


def _is_of_this_cluster(other: OtherProvider, situation: Situation) -> bool:
    """Whether it trusts this cluster: its keys, or, where Google reads those itself, its issuer."""
    ours = KeySet.parse(situation.facts.jwks).keys.keys()
    trusts = bool(other.kids & ours) if other.kids else other.issuer == situation.facts.issuer
    return trusts or situation.is_own(other)


def _same_principals(situation: Situation) -> Iterator[Objection]:
    """Compare what the two providers make of the same account of each cluster: equal principals mean that one can speak for the other."""
    pool = situation.federation.google.pool.id
    used = {"google.subject", *(workload.member for workload in situation.federation.workloads if workload.member != "subject")}
    accounts = [workload.service_account for workload in situation.federation.workloads] or [ServiceAccountRef("default", "default")]
    for other in situation.others:
        if situation.is_own(other):
            continue
        clashing = sorted(name for name in used if any(_is_same(situation, other, name, account) for account in accounts))
        if clashing:
            yield Objection(
                "plan.shared-pool",
                f"The pool {pool} is shared with provider {other.provider_id} ({other.issuer or 'no OIDC issuer'}).",
                f"Both give accounts of one name the same {' and '.join(clashing)}, so one cluster could speak for the other.",
                "Use a pool for this cluster alone, or put the cluster's name into the mapping: "
                "google.subject: \"'my-cluster::' + assertion.sub\".",
            )


def _foreign_namespaces(situation: Situation) -> Iterator[Objection]:
    """Refuse to bind a namespace by an attribute that another provider of the pool writes too, from whatever claim: a value is a value."""
    mapping = situation.federation.google.attribute_mapping
    used = {workload.member for workload in situation.federation.patterns if workload.is_namespace}
    for other in situation.others:
        for attribute in sorted(used & other.attribute_mapping.keys()):
            theirs = other.attribute_mapping[attribute]
            # Two clusters of which each writes its own name before the namespace are told apart; `_same_principals` has compared them.
            if not (is_namespace_claim(theirs) and is_namespace_claim(mapping.get(attribute, ""))):
                yield Objection(
                    "plan.shared-pool",
                    f"The provider {other.provider_id} of the same pool maps {attribute} from {theirs!r}.",
                    f"Whomever it trusts could be given the name of a namespace there, and would be in {attribute}/NAMESPACE.",
                    "Use a pool for this cluster alone, or another attribute for its namespaces.",
                )


def _is_same(situation: Situation, other: OtherProvider, attribute: str, account: ServiceAccountRef) -> bool:
    """Whether an account of this cluster and the one of the same name behind the other provider get the same value."""
    mapping = situation.federation.google.attribute_mapping
    ours = principals.value(mapping, attribute, principals.claims_of(account, situation.facts))
    theirs = principals.value(other.attribute_mapping, attribute, Claims(account, other.issuer, uid=principals.NO_UID))
    return ours is not None and ours == theirs
