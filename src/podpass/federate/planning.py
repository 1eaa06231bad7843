# SPDX-License-Identifier: Apache-2.0
"""From a federation file and two live sides to a plan, and what applying it needs."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from podpass.config.federation import Federation
from podpass.federate import (
    cautions,
    desired,
    diff,
    lapse,
    limits,
    move_witness,
    observed,
    preflight,
    reach,
    references,
    safety,
    selection,
    strangers,
)
from podpass.federate.change import Change
from podpass.federate.facts import Facts
from podpass.federate.observed import Reader
from podpass.federate.plan import Plan, Subject
from podpass.federate.receipt import Receipt
from podpass.federate.receipt_store import ReceiptStore
from podpass.federate.resource import Observed
from podpass.federate.safety import Objection, Situation
from podpass.federate.survey import Findings, Survey
from podpass.federate.under_way import UnderWay
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
        safety.stop(self.refusals)


def prepare(federation: Federation, google: GoogleClient, cluster: KubeClient) -> Prepared:
    """Read both sides and return the plan. Changes nothing.

    Raises:
        ConfigError, UnsafePlanError, RefusedError: What no flag can make right; see `safety`.
        PlanError: A move of the issuer is under way, and the file fits neither end of it.
        NeighbourError: A side gave no answer.
    """
    store = ReceiptStore(cluster, federation.name)
    with Readings(WORKERS, google.silence, cluster.silence) as executor:
        reader = Reader(google, cluster, executor)
        asked = selection.ask(federation, cluster, executor)
        findings = Survey(asked, google, cluster, store, executor).run(reader)
        facts = findings.facts
        selected = selection.fitting(asked, facts)
        federation = selected.federation
        receipt = findings.receipt or Receipt(federation.name, facts.cluster, facts.project)
        move = findings.under_way.move if findings.under_way else None
        if move:
            move.check_file(federation)
        situation = Situation(federation, facts, receipt, findings.others, under_way=findings.under_way)
        of_everything, of_plan = safety.split(safety.objections(situation))
        safety.stop(of_everything)
        wanted = desired.resources(federation, facts, move)
        seen = observed.of_desired(reader, wanted, findings.enabled)
        if move:
            safety.stop(list(move_witness.objections(move, federation, facts, seen)))
        referred = references.resources(federation)
        seen |= observed.of_desired(reader, referred, findings.enabled)
        safety.stop(list(references.objections(federation, seen)))
        seen |= observed.of_receipt(reader, receipt, seen)
        pool = desired.provider_name(federation, facts).pool
        found = references.untouched(diff.changes(wanted, seen, receipt), referred)
        changes, foreign = lapse.without_foreign(lapse.traced(found, wanted, receipt, federation, facts))
        if changes:
            lacking = executor.submit(preflight.lacking, google, changes, facts.project, findings.missing)
            unknown = executor.submit(preflight.unknown_roles, google, changes)
            safety.stop((*findings.obstacles, *lacking.result(), *unknown.result()))
        policies = reader.known_policies()
        beyond = strangers.cautions(federation, pool, policies, wanted, changes)
        crowd = limits.Crowd(federation, policies, changes)
        census = selection.population(cluster, crowd.namespaces, executor)
        refusals = (*selected.objections(), *of_plan, *crowd.objections(census))
        warnings = (
            *cautions.of(situation),
            *references.cautions(federation, facts, seen),
            *reach.cautions(selected),
            *reach.foreign(foreign),
            *crowd.cautions(census),
            *beyond,
        )
        plan = Plan(_subject(federation, findings), wanted, changes, warnings)
        return Prepared(
            plan, Sides(google, cluster, store), receipt, seen, policies, facts, federation, findings.under_way, refusals=refusals
        )


def _subject(federation: Federation, findings: Findings) -> Subject:
    facts = findings.facts
    return Subject(
        federation=federation.name,
        cluster=facts.cluster,
        project=facts.project,
        project_number=facts.project_number,
        issuer=desired.declared_issuer(federation, facts).url,
        audience=desired.provider_name(federation, facts).audience,
        file=str(federation.source.path.absolute()),
    )
