# SPDX-License-Identifier: Apache-2.0
"""What podpass refuses to do. None of these rules asks the network; what it does and warns about is in `cautions`.

Refused when the plan is made (`objections`), because no flag could make it right:

1. what Google would refuse of the provider: a condition over 4096 characters, a mapping or an expression that does not hold;
2. a `google.subject` over 127 bytes;
3. a pool in which another provider's tokens become the same principals, or may be given a namespace's name;
4. Google's audience among the API server's audiences;
5. a receipt of another project or cluster;
6. an API that is off, a permission that the operator lacks, a namespace that is not there.

(One account declared twice, and keys in a bucket that is not the issuer, are refused with the file, by `config`.)

Refused when the plan is applied (`check_allowed`), unless the operator said so: deleting what has not lapsed, undeleting what the receipt
does not know, adopting.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from podpass.config.cross_checks import is_namespace_claim
from podpass.config.federation import GENERATED, Federation
from podpass.errors import ConfigError, PodpassError, RefusedError, UnsafePlanError
from podpass.federate import condition, principals
from podpass.federate.change import Action, Change
from podpass.federate.desired import declared_issuer, provider_name
from podpass.federate.facts import Facts
from podpass.federate.marks import Mark
from podpass.federate.plan import Plan
from podpass.federate.principals import Claims, OtherProvider
from podpass.federate.receipt import NAMESPACE, Receipt, config_map_name
from podpass.federate.resource import Kind
from podpass.federate.under_way import UnderWay
from podpass.names import ServiceAccountRef
from podpass.verify.jwks import KeySet
from podpass.wif.limits import CONDITION_LIMIT_CHARS, SUBJECT_LIMIT_BYTES, check_provider

_OF_PLAN = "config.condition-too-long"


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason why a plan is refused: the three sentences of an error, and its code."""

    code: str
    what: str
    why: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Situation:
    """What the rules look at.

    Attributes:
        federation: The file.
        facts: The two sides.
        receipt: What podpass made; empty if there is none.
        others: The other providers of the pool.
        obstacles: What was found to stand in the way while reading: APIs that are off, permissions that are missing.
        under_way: A rotation that has begun.
    """

    federation: Federation
    facts: Facts
    receipt: Receipt
    others: tuple[OtherProvider, ...] = ()
    obstacles: tuple[Objection, ...] = ()
    under_way: UnderWay | None = None

    def is_own(self, other: OtherProvider) -> bool:
        """Whether another provider of the pool is this cluster's, too: the other one of a move, or one that the file named before.

        The receipt alone does not prove it, since others may write it: Google's mark does, or that the keys are the cluster's.
        """
        move = self.under_way.move if self.under_way else None
        if move and other.provider_id in {move.former.provider, move.coming.provider}:
            return True
        if f"{Kind.PROVIDER}/{other.provider_id}" not in self.receipt.entries:
            return False
        has_our_keys = bool(other.kids) and other.kids <= KeySet.parse(self.facts.jwks).keys.keys()
        return has_our_keys or Mark(self.receipt.federation, self.receipt.cluster).signed(other.mark)


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the operator allowed on the command line; addresses may hold `*`, but not for adopting what is another's."""

    delete: tuple[str, ...] = ()
    undelete: tuple[str, ...] = ()
    adopt: tuple[str, ...] = ()


def split(found: Iterable[Objection]) -> tuple[tuple[Objection, ...], tuple[Objection, ...]]:
    """Return the objections to everything, and those to the plan alone.

    The second come of how many accounts a selector finds, and whoever may label accounts must not be able to stop the bringing of keys.
    """
    known = tuple(found)
    of_plan = tuple(one for one in known if one.code == _OF_PLAN)
    return tuple(one for one in known if one not in of_plan), of_plan


def objections(situation: Situation) -> Iterator[Objection]:
    """Return every reason to refuse, in the order of the list above."""
    yield from _provider_limits(situation)
    yield from _long_subjects(situation)
    yield from _shared_pool(situation)
    yield from _foreign_namespaces(situation)
    yield from _api_audience(situation)
    yield from _foreign_receipt(situation)
    yield from situation.obstacles


def check_allowed(plan: Plan, allowances: Allowances) -> None:
    """Refuse what nobody allowed.

    Raises:
        UnsafePlanError: The plan deletes, undeletes or adopts something that the operator did not allow.
    """
    stop([objection for change in plan.changes if (objection := _not_allowed(change, allowances))])


def _not_allowed(change: Change, allowances: Allowances) -> Objection | None:
    if change.action is Action.DELETE and not change.lapsed and not _named(change.address, allowances.delete):
        return Objection(
            "plan.unsafe",
            f"The plan deletes {change.address}.",
            "podpass made it, and the federation file does not ask for it any more.",
            f"Put it back into the file, or apply with --allow-delete {change.address}.",
        )
    if change.action is Action.UNDELETE and not change.known and not _named(change.address, allowances.undelete):
        return Objection(
            "plan.unsafe",
            f"The plan undeletes {change.address}.",
            "It was deleted less than 30 days ago, so Google keeps its id, and this cluster's receipt does not know it.",
            f"Choose another id, or apply with --allow-undelete {change.address}: it is corrected before it is enabled.",
        )
    if change.action is Action.ADOPT and not _may_adopt(change, allowances.adopt):
        return _adopting(change)
    return None


def _may_adopt(change: Change, allowed: Iterable[str]) -> bool:
    """Whether it was allowed: what somebody else's mark or keys are on, by its own address only."""
    return change.address in allowed if change.is_anothers else _named(change.address, allowed)


def _adopting(change: Change) -> Objection:
    owner = f"; {change.owner}" if change.owner else ""
    if "of cluster" in change.owner:
        return Objection(
            "plan.unsafe",
            f"{change.address} exists already, for another cluster.",
            f"podpass did not make it{owner}.",
            "Choose another name. Adopted, it would serve this cluster, and that one's workloads would be refused. Only if that is this "
            f"cluster before it was rebuilt, or one that is gone: apply with --adopt {change.address}.",
        )
    if "of this cluster" in change.owner:
        return Objection(
            "plan.unsafe",
            f"{change.address} exists already, for another federation of this cluster.",
            f"This one did not make it{owner}.",
            "Choose another name. Adopted, it would be as both files say in turn, whichever was applied last. "
            f"Only if that federation is gone: apply with --adopt {change.address}.",
        )
    return Objection(
        "plan.unsafe",
        f"{change.address} exists already.",
        f"podpass did not make it{owner}.",
        f"Choose another name, or apply with --adopt {change.address}: podpass then keeps it in line and never deletes it.",
    )


def _named(address: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(address, pattern) for pattern in patterns)


def stop(found: Sequence[Objection]) -> None:
    """Raise one error for all objections; nothing if there are none."""
    if not found:
        return
    codes = {objection.code for objection in found}
    kind = _class_of(found[0].code)
    code = found[0].code if len(codes) == 1 else kind.code
    if len(found) == 1:
        raise kind(f"Nothing was changed: {found[0].what}", found[0].why, found[0].next_step, code=code)
    lines = [f"  - {' '.join(filter(None, (one.what, one.why)))}\n    {one.next_step}" for one in found]
    raise kind(f"Nothing was changed, for {len(found)} reasons:", "\n".join(lines), "", code=code)


def _class_of(code: str) -> type[PodpassError]:
    room = code.partition(".")[0]
    return {"config": ConfigError, "neighbour": RefusedError}.get(room, UnsafePlanError)


def _provider_limits(situation: Situation) -> Iterator[Objection]:
    federation = situation.federation
    google = federation.google
    text = condition.of(federation)
    address = f"provider/{google.provider.id}"
    if len(text) > CONDITION_LIMIT_CHARS:
        names = google.attribute_condition is GENERATED
        yield Objection(
            "config.condition-too-long",
            f"The attribute condition of {address} would have {len(text)} characters; Google accepts {CONDITION_LIMIT_CHARS}.",
            f"It is generated and names each of the {len(federation.workloads)} workloads." if names else "",
            f'Write attributeCondition yourself, for instance by namespace: "{_by_namespace(federation)}". '
            "Every account of these namespaces may then enter the pool; what it may do there is said by the workloads.",
        )
        return
    issuer = declared_issuer(federation, situation.facts).url
    for violation in check_provider(issuer_uri=issuer, attribute_mapping=google.attribute_mapping, attribute_condition=text or None):
        where = federation.source.where(f"spec.google.{violation.field}")
        yield Objection("config.provider", f"Google would refuse {address}.", violation.message, f"Correct it at {where}.")


def _by_namespace(federation: Federation) -> str:
    namespaces = sorted({workload.service_account.namespace for workload in federation.workloads})
    return f"{condition.NAMESPACE} in [{', '.join(repr(namespace) for namespace in namespaces)}]"


def _long_subjects(situation: Situation) -> Iterator[Objection]:
    mapping = situation.federation.google.attribute_mapping
    for workload in situation.federation.workloads:
        if workload.is_namespace:
            continue
        subject = principals.value(mapping, "google.subject", principals.claims_of(workload.service_account, situation.facts))
        size = len((subject or "").encode())
        if size > SUBJECT_LIMIT_BYTES:
            yield Objection(
                "config.subject-too-long",
                f"google.subject would be {size} bytes for {workload.service_account}; Google accepts {SUBJECT_LIMIT_BYTES}.",
                f"The mapping is {mapping['google.subject']}.",
                "Map a shorter claim, such as assertion['kubernetes.io'].serviceaccount.uid, and grant by an attribute instead.",
            )


def _shared_pool(situation: Situation) -> Iterator[Objection]:
    """Compare what the two providers make of the same account of each cluster: equal principals mean that one can speak for the other."""
    pool = situation.federation.google.pool.id
    used = {"google.subject", *(workload.member for workload in situation.federation.workloads if workload.member != "subject")}
    accounts = [workload.service_account for workload in situation.federation.workloads] or [ServiceAccountRef("default", "default")]
    for other in situation.others:
        if situation.is_own(other):
            continue
        clashing = sorted(name for name in used if any(_same_principal(situation, other, name, account) for account in accounts))
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
            # Two clusters of which each writes its own name before the namespace are told apart; `_shared_pool` has compared them.
            if not (is_namespace_claim(theirs) and is_namespace_claim(mapping.get(attribute, ""))):
                yield Objection(
                    "plan.shared-pool",
                    f"The provider {other.provider_id} of the same pool maps {attribute} from {theirs!r}.",
                    f"Whomever it trusts could be given the name of a namespace there, and would be in {attribute}/NAMESPACE.",
                    "Use a pool for this cluster alone, or another attribute for its namespaces.",
                )


def _same_principal(situation: Situation, other: OtherProvider, attribute: str, account: ServiceAccountRef) -> bool:
    """Whether an account of this cluster and the one of the same name behind the other provider get the same value."""
    mapping = situation.federation.google.attribute_mapping
    ours = principals.value(mapping, attribute, principals.claims_of(account, situation.facts))
    theirs = principals.value(other.attribute_mapping, attribute, Claims(account, other.issuer, uid=principals.NO_UID))
    return ours is not None and ours == theirs


def _api_audience(situation: Situation) -> Iterator[Objection]:
    audience = provider_name(situation.federation, situation.facts).audience
    both = {audience, f"https:{audience}", audience.removeprefix("//iam.googleapis.com/")} & (situation.facts.api_audiences or frozenset())
    if both:
        yield Objection(
            "plan.audience-confusion",
            f"The API server itself accepts tokens for Google's audience {min(both)!r}.",
            "Whoever gets hold of a token that a workload sends to Google could then use it against the cluster.",
            "Remove it from the API server's --api-audiences; Google never looks there.",
        )


def _foreign_receipt(situation: Situation) -> Iterator[Objection]:
    receipt, facts = situation.receipt, situation.facts
    if receipt.cluster != facts.cluster:
        yield Objection(
            "plan.other-cluster",
            f"The receipt in this cluster was written in another one ({receipt.cluster}; this is {facts.cluster}).",
            "It was restored from a backup or copied, and the other cluster may still rest on what the receipt lists.",
            f"If that cluster is gone, delete the config map {NAMESPACE}/{config_map_name(receipt.federation)} and apply with --adopt "
            "ADDRESS for each thing that the plan lists.",
        )
    elif receipt.entries and receipt.project != facts.project:
        yield Objection(
            "plan.other-project",
            f"This cluster's federation {receipt.federation} was made in project {receipt.project}, not in {facts.project}.",
            "Its receipt lists what podpass made there.",
            f"Run `podpass destroy` with the file that names {receipt.project} first, or give this federation another name.",
        )
