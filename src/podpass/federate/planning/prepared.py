# SPDX-License-Identifier: Apache-2.0
"""From a federation file and two live sides to a plan, and what applying it needs."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace

from podpass.config.federation import Federation
from podpass.federate.desired import desired, selection
from podpass.federate.desired.selection import Selected
from podpass.federate.model.change import Change
from podpass.federate.model.facts import Facts
from podpass.federate.model.objection import Objection, stop
from podpass.federate.model.plan import Caution, Plan, Subject
from podpass.federate.model.resource import JSON, Observed, Resource, kind_of
from podpass.federate.observed import observed, preflight
from podpass.federate.observed.observed import Reader
from podpass.federate.observed.survey import Findings, Survey
from podpass.federate.ownership import move_witness, siblings, witness
from podpass.federate.ownership.siblings import NONE, Siblings
from podpass.federate.ownership.witness import NOBODY, Witness
from podpass.federate.planning import diff, lapse
from podpass.federate.records.issuer_move import IssuerMove
from podpass.federate.records.receipt import Receipt
from podpass.federate.records.receipt_store import ReceiptStore
from podpass.federate.records.under_way import UnderWay
from podpass.federate.safety import cautions, limits, other_providers, reach, references, refusals, strangers
from podpass.federate.safety.situation import Situation
from podpass.google.policy import Policy
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.net.readings import Readings

WORKERS = 16


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides, and the receipt between them.

    Attributes:
        google: Google, as the operator.
        cluster: The cluster, as the operator; None: it is gone.
        store: Where the receipt lives; None: nowhere, the cluster is gone.
    """

    google: GoogleClient
    cluster: KubeClient | None
    store: ReceiptStore | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A plan, with what was seen when it was made.

    Attributes:
        plan: The plan.
        sides: Where it is to be applied.
        receipt: What podpass made so far; empty at first.
        observed: Things as they were, by address.
        policies: IAM policies as they were, by target.
        facts: What the sides said about themselves; None where nobody asked.
        federation: The file, with a workload for each account that its selectors found; None where there is no file.
        under_way: A rotation that has begun; None: there is none, or nobody asked.
        left_out: Addresses of changes that somebody took out of the plan: what the receipt says of them stays.
        refusals: Why the plan must not be made; see `check_applicable`.
        witness: Who besides the receipt says what is podpass's.
        siblings: What other federations of the cluster give, too.
        other_providers: The ids of the pool's other providers.
    """

    plan: Plan
    sides: Sides
    receipt: Receipt
    observed: Mapping[str, Observed] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    facts: Facts | None = None
    federation: Federation | None = None
    under_way: UnderWay | None = None
    left_out: frozenset[str] = frozenset()
    refusals: tuple[Objection, ...] = ()
    witness: Witness = NOBODY
    siblings: Siblings = NONE
    other_providers: frozenset[str] = frozenset()

    def takes_away(self, former: Mapping[str, JSON], now: Mapping[str, JSON]) -> bool:
        """Whether a former member of a policy goes with the present one: it was podpass's, and no other federation's."""
        return self.witness.was(former, now) and not self.siblings.giver(former)

    def only(self, changes: Iterable[Change]) -> "Prepared":
        """Return the plan with these changes alone."""
        kept = tuple(changes)
        addresses = {change.address for change in kept}
        left_out = frozenset(change.address for change in self.plan.changes if change.address not in addresses)
        return replace(self, plan=replace(self.plan, changes=kept), left_out=self.left_out | left_out)

    def check_applicable(self) -> None:
        """Refuse a plan that is not whole, or that Google would refuse. Who only looks, or brings keys, is not stopped by it.

        Raises:
            UnsafePlanError: A selector finds more than it may; a policy would grow too large.
        """
        stop(self.refusals)


@dataclass(frozen=True, slots=True)
class _Scene:
    """What cluster and project say about themselves, and whom the file means by that.

    Attributes:
        selected: The file, its selectors asked.
        findings: What was found out.
        receipt: What podpass made so far; empty at first.
        refusals: Why the plan must not be made, though keys may be brought.
    """

    selected: Selected
    findings: Findings
    receipt: Receipt
    refusals: tuple[Objection, ...] = ()

    @property
    def federation(self) -> Federation:
        return self.selected.federation

    @property
    def facts(self) -> Facts:
        return self.findings.facts

    @property
    def move(self) -> IssuerMove | None:
        return self.findings.under_way.move if self.findings.under_way else None

    @property
    def situation(self) -> Situation:
        return Situation(self.federation, self.facts, self.receipt, self.findings.others, under_way=self.findings.under_way)


@dataclass(frozen=True, slots=True)
class _Things:
    """What should be there and what is.

    Attributes:
        wanted: What the file asks for.
        referred: What it refers to.
        observed: All of it, and what the receipt lists, as it is now.
        witness: Who besides the receipt says what is podpass's.
        siblings: What other federations of the cluster give, too.
    """

    wanted: tuple[Resource, ...]
    referred: tuple[Resource, ...]
    observed: Mapping[str, Observed]
    witness: Witness
    siblings: Siblings


def prepare(federation: Federation, google: GoogleClient, cluster: KubeClient, move: IssuerMove | None = None) -> Prepared:
    """Read both sides and return the plan. Changes nothing.

    Args:
        federation: The file.
        google: Google, as the operator.
        cluster: The cluster, as the operator.
        move: In the place of the one that the cluster keeps: where that is about to turn back.

    Raises:
        ConfigError, UnsafePlanError, RefusedError: What no flag can make right; see `safety.refusals`.
        PlanError: A move of the issuer is under way, and the file fits neither end of it.
        NeighbourError: A side gave no answer.
    """
    store = ReceiptStore(cluster, federation.name)
    with Readings(WORKERS, google.silence, cluster.silence) as executor:
        reader = Reader(google, cluster, executor)
        asked = selection.ask(federation, cluster, executor)
        findings = Survey(asked, google, cluster, store, executor).run(reader)
        scene = _scene(asked, replace(findings, under_way=UnderWay("--issuer", move)) if move else findings)
        things = _read(scene, reader, cluster)
        changes, foreign = _changes(scene, things)
        _check_possible(scene, changes, google, executor)
        policies = reader.known_policies()
        crowd = limits.Crowd(scene.federation, policies, changes)
        census = selection.population(cluster, crowd.namespaces, executor)
    warnings = (
        *_of_the_scene(scene, things, foreign),
        *crowd.cautions(census),
        *_of_policies(scene, things, policies, changes),
    )
    return Prepared(
        Plan(_subject(scene), things.wanted, changes, warnings),
        Sides(google, cluster, store),
        scene.receipt,
        things.observed,
        policies,
        scene.facts,
        scene.federation,
        scene.findings.under_way,
        refusals=(*scene.selected.objections(), *scene.refusals, *crowd.objections(census)),
        witness=things.witness,
        siblings=things.siblings,
        other_providers=frozenset(one.provider_id for one in scene.findings.others),
    )


def _scene(asked: Selected, findings: Findings) -> _Scene:
    """Return what was found out; refuse what is wrong with file, receipt and facts whatever is there."""
    facts = findings.facts
    selected = selection.fitting(asked, facts)
    receipt = findings.receipt or Receipt(selected.federation.name, facts.cluster, facts.project)
    scene = _Scene(selected, findings, receipt)
    if scene.move:
        scene.move.check_file(scene.federation)
    of_everything, of_plan = refusals.split(refusals.objections(scene.situation))
    stop(of_everything)
    return replace(scene, refusals=of_plan)


def _read(scene: _Scene, reader: Reader, cluster: KubeClient) -> _Things:
    """Read what the file asks for, what it refers to and what the receipt lists; refuse to rest on what is not as it should be."""
    federation, facts, enabled = scene.federation, scene.facts, scene.findings.enabled
    wanted = desired.resources(federation, facts, scene.move)
    seen = observed.of_desired(reader, wanted, enabled)
    if scene.move:
        stop(list(move_witness.objections(scene.move, federation, facts, seen)))
        wanted = tuple(move_witness.still_wanted(wanted, scene.move, federation, facts, seen))
    referred = references.resources(federation)
    seen |= observed.of_desired(reader, referred, enabled)
    stop(list(references.objections(federation, seen)))
    listed = observed.of_receipt(reader, scene.receipt, seen)
    witnessed = witness.of(federation, scene.receipt, listed, facts.project_number)
    seen |= listed
    others = siblings.read(cluster, federation.name) if _may_be_shared(scene.receipt, wanted, seen) else NONE
    return _Things(wanted, referred, seen, witnessed, others)


def _may_be_shared(receipt: Receipt, wanted: tuple[Resource, ...], seen: Mapping[str, Observed]) -> bool:
    """Whether a member of a policy is there already, or goes: then it matters who else gives it."""
    asked = {one.address: one.identity for one in wanted if one.kind.is_policy_item}
    ours = {address: entry.identity for address, entry in receipt.entries.items() if kind_of(address).is_policy_item}
    is_found = any(address not in ours and seen[address].status == "present" for address in asked)
    return is_found or any(dict(identity) != dict(asked.get(address, {})) for address, identity in ours.items())


def _changes(scene: _Scene, things: _Things) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """Return the changes, and those that are left out because they are somebody else's."""
    found = diff.changes(things.wanted, things.observed, scene.receipt, things.witness, things.siblings)
    found = other_providers.claimed(references.untouched(found, things.referred), scene.situation)
    return lapse.without_foreign(lapse.traced(found, things.wanted, scene.receipt, scene.federation, scene.facts))


def _check_possible(scene: _Scene, changes: tuple[Change, ...], google: GoogleClient, executor: Executor) -> None:
    """Refuse changes that the operator may not make, or that would fail."""
    if changes:
        lacking = executor.submit(preflight.lacking, google, changes, scene.facts.project, scene.findings.missing)
        unknown = executor.submit(preflight.unknown_roles, google, changes)
        stop((*scene.findings.obstacles, *lacking.result(), *unknown.result()))


def _of_the_scene(scene: _Scene, things: _Things, foreign: tuple[Change, ...]) -> Iterator[Caution]:
    """Return what a reader should know of the file, of what it refers to, and of whom it reaches."""
    yield from cautions.of(scene.situation)
    yield from references.cautions(scene.federation, scene.facts, things.observed)
    yield from reach.cautions(scene.selected)
    yield from reach.foreign(foreign)


def _of_policies(scene: _Scene, things: _Things, policies: Mapping[str, Policy], changes: tuple[Change, ...]) -> Iterator[Caution]:
    """Return what a reader should know of members that stay in the policies."""
    pool = desired.provider_name(scene.federation, scene.facts).pool
    accounts = frozenset(str(one) for one in things.witness.referred)
    yield from siblings.cautions(things.siblings, things.wanted, things.observed, scene.receipt, accounts)
    yield from witness.cautions(things.witness, scene.receipt, things.wanted, policies, scene.facts.project)
    yield from strangers.cautions(scene.federation, pool, policies, things.wanted, changes)


def _subject(scene: _Scene) -> Subject:
    federation, facts = scene.federation, scene.facts
    return Subject(
        federation=federation.name,
        cluster=facts.cluster,
        project=facts.project,
        project_number=facts.project_number,
        issuer=desired.declared_issuer(federation, facts).url,
        audience=desired.provider_name(federation, facts).audience,
        file=str(federation.source.path.absolute()),
    )
