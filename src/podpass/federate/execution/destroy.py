# SPDX-License-Identifier: Apache-2.0
"""Takes away what apply made, as the receipt lists it, and nothing else.

What was adopted stays, enabled APIs stay (others may have come to use them), and foreign members of policies stay. So does what the receipt
alone calls podpass's: see `ownership.witness`. Trust goes first: see `steps`. Pools and providers are deleted softly; their ids stay taken
for 30 days.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from podpass.config.federation import Federation
from podpass.federate.execution.acts import is_teething
from podpass.federate.execution.apply import acts_of, complain, made_by, turn_for
from podpass.federate.execution.run import PATIENCE, Event, run
from podpass.federate.execution.steps import graph
from podpass.federate.execution.turn import sweep
from podpass.federate.export.script import binding_command
from podpass.federate.kinds import policies
from podpass.federate.model.change import Change
from podpass.federate.model.objection import Objection, stop
from podpass.federate.model.plan import Plan, Subject
from podpass.federate.model.resource import kind_of
from podpass.federate.observed import observed, preflight
from podpass.federate.observed.observed import Reader
from podpass.federate.ownership import foreign_receipt, siblings, witness
from podpass.federate.planning import diff
from podpass.federate.planning.prepared import WORKERS, Prepared, Sides
from podpass.federate.records import bookkeeping, own_namespace, under_way
from podpass.federate.records.receipt import NAMESPACE, Receipt, State
from podpass.federate.records.receipt_store import ReceiptStore
from podpass.google.projects import get_project
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.kube.objects import get_namespace
from podpass.net.readings import Readings


@dataclass(frozen=True, slots=True)
class Destruction:
    """What is to be taken away.

    Attributes:
        prepared: The deletions as a plan.
        left: What the receipt knows and what stays: its address, and the reason: adopted, by now somebody else's, or never podpass's.
        has_receipt: Whether there is a receipt at all.
    """

    prepared: Prepared
    left: tuple[tuple[str, str], ...]
    has_receipt: bool

    @property
    def changes(self) -> tuple[Change, ...]:
        """The deletions, in the order of taking away."""
        return self.prepared.plan.changes


def prepare(federation: Federation, google: GoogleClient, cluster: KubeClient) -> Destruction:
    """Read the receipt from the cluster, and what it lists as it is now. Changes nothing."""
    store = ReceiptStore(cluster, federation.name)
    with Readings(WORKERS, cluster.silence) as executor:
        home = executor.submit(get_namespace, cluster, "kube-system")
        rotation = executor.submit(under_way.read, cluster, federation.name)
        receipt = executor.submit(store.read).result()
        live, begun = home.result(), rotation.result()
    if begun:
        state = under_way.name_of(federation.name)
        at_once = f"To take all away as it is, delete its state first: `kubectl -n {NAMESPACE} delete configmap {state}`."
        stop([Objection("plan.rotation-under-way", begun.sentence, "", f"{begun.next_step} {at_once}")])
    if receipt is None:
        nothing = Receipt(federation.name, "", "")
        return Destruction(Prepared(_plan(nothing, ()), Sides(google, cluster, store), nothing), (), has_receipt=False)
    uid = live.uid if live else "without the namespace kube-system"
    stop(list(foreign_receipt.objections(receipt, federation.name, uid, "use --receipt FILE with this receipt")))
    return _prepare(receipt, federation, Sides(google, cluster, store))


def prepare_without_cluster(receipt: Receipt, federation: Federation | None, google: GoogleClient) -> Destruction:
    """Do as `prepare`, for a cluster that is gone: only Google's side is taken away.

    Args:
        receipt: What was kept of it.
        federation: The file, which speaks for what bears no mark; None: it is gone too.
        google: Google, as the operator.
    """
    return _prepare(receipt, federation, Sides(google, None, None))


def _prepare(known: Receipt, federation: Federation | None, sides: Sides) -> Destruction:
    silences = [side.silence for side in (sides.google, sides.cluster) if side]
    with Readings(WORKERS, *silences) as executor:
        project = executor.submit(get_project, sides.google, known.project)
        reader = Reader(sides.google, sides.cluster, executor)
        seen = observed.of_receipt(reader, known)
        witnessed = witness.of(federation, known, seen, project.result().number)
        others = siblings.read(sides.cluster, known.federation) if sides.cluster else siblings.NONE
        changes = tuple(change for change in diff.deletions(known, seen, witnessed, others) if not change.is_unwitnessed)
        read = reader.known_policies()
    if changes:
        in_cluster = preflight.not_deletable(sides.cluster, changes) if sides.cluster else ()
        stop((*preflight.lacking(sides.google, changes, known.project), *in_cluster))
    prepared = Prepared(_plan(known, changes), sides, known, seen, read, witness=witnessed, siblings=others)
    return Destruction(prepared, tuple(_left(prepared)), has_receipt=True)


def _plan(receipt: Receipt, changes: tuple[Change, ...]) -> Plan:
    return Plan(Subject(receipt.federation, receipt.cluster, receipt.project, "", "", ""), (), changes)


def _left(prepared: Prepared) -> Iterator[tuple[str, str]]:
    """Return what stays, and why."""
    gone = {change.address for change in prepared.plan.changes}
    for address, seen in prepared.observed.items():
        entry = prepared.receipt.entries[address]
        if kind_of(address).is_policy_item:
            forms = (one for one in (entry.identity, *entry.former) if policies.has(prepared.policies.get(str(one["target"])), one))
            for one in forms:
                if not (address in gone and (one == entry.identity or prepared.takes_away(one, entry.identity))):
                    giver = prepared.siblings.giver(one)
                    command = binding_command("remove", one, prepared.receipt.project)
                    alone = f"nobody but the receipt says that podpass gave it; `{command}` takes it away"
                    yield address, f"the federation {giver} gives it, too" if giver else alone
        elif seen.status == "present" and address not in gone:
            is_claimed = entry.state is not State.ADOPTED and seen.mark is None and entry.uid in {None, seen.uid}
            yield address, "it does not bear podpass's mark" if is_claimed else "podpass did not make it"


@dataclass(frozen=True, slots=True)
class Destroyed:
    """What was done.

    Attributes:
        changes: What was deleted.
        unseen: The cluster's APIs that gave no answer: podpass's own namespace stays, since nobody knows whether it is empty.
    """

    changes: tuple[Change, ...]
    unseen: tuple[str, ...] = ()


def destroy(destruction: Destruction, *, notify: Callable[[Event], None] = lambda _: None, patience: timedelta = PATIENCE) -> Destroyed:
    """Take it away, then the receipt, and with the last receipt the namespace.

    Raises:
        DriftSincePlanError: Another run is at work; nothing was changed.
        PartlyAppliedError: A step failed, or Ctrl-C; says how far it came. Running it again continues.
    """
    prepared = destruction.prepared
    with turn_for(prepared, "destroy"):
        made, final = _destroy(prepared, notify, patience)
    if prepared.sides.cluster and not final.entries:
        sweep(prepared.sides.cluster, prepared.receipt.federation, own=True)
        return Destroyed(made, own_namespace.remove_if_empty(prepared.sides.cluster))
    return Destroyed(made)


def _destroy(prepared: Prepared, notify: Callable[[Event], None], patience: timedelta) -> tuple[tuple[Change, ...], Receipt]:
    steps = graph(prepared.plan.changes, {})
    outcome = run(steps, acts_of(prepared, prepared.receipt), is_teething=is_teething, notify=notify, patience=patience)
    made = made_by(steps, outcome)
    pending = {change.address for change in prepared.plan.changes} - {change.address for change in made}
    final = bookkeeping.settled(prepared.receipt, prepared.observed, desired={}, pending=pending, uids={})
    outcome.close(lambda: _close(prepared, final))
    complain(outcome, len(made), len(prepared.plan.changes), "destroy")
    return made, final


def _close(prepared: Prepared, final: Receipt) -> None:
    store = prepared.sides.store
    if store is None:
        return
    if final.entries:
        if final != prepared.receipt:
            store.write(final)
    else:
        store.remove()
