# SPDX-License-Identifier: Apache-2.0
"""Takes away what apply made, as the receipt lists it, and nothing else.

What was adopted stays, enabled APIs stay (others may have come to use them), and foreign members of policies stay. Trust goes first: see
`steps`. Pools and providers are deleted softly; their ids stay taken for 30 days.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from podpass.federate import bookkeeping, diff, observed, own_namespace, preflight, under_way
from podpass.federate.acts import is_teething
from podpass.federate.apply import acts_of, complain, made_by, turn_for
from podpass.federate.change import Change
from podpass.federate.observed import Reader
from podpass.federate.plan import Plan, Subject
from podpass.federate.planning import WORKERS, Prepared, Sides
from podpass.federate.receipt import NAMESPACE, Receipt
from podpass.federate.receipt_store import ReceiptStore
from podpass.federate.run import PATIENCE, Event, run
from podpass.federate.safety import Objection, stop
from podpass.federate.steps import graph
from podpass.federate.turn import sweep
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.kube.objects import get_namespace
from podpass.net.readings import Readings


@dataclass(frozen=True, slots=True)
class Destruction:
    """What is to be taken away.

    Attributes:
        prepared: The deletions as a plan.
        left: Addresses that the receipt knows and that stay: adopted, or by now somebody else's.
        has_receipt: Whether there is a receipt at all.
    """

    prepared: Prepared
    left: tuple[str, ...]
    has_receipt: bool

    @property
    def changes(self) -> tuple[Change, ...]:
        """The deletions, in the order of taking away."""
        return self.prepared.plan.changes


def prepare(federation: str, google: GoogleClient, cluster: KubeClient) -> Destruction:
    """Read the receipt from the cluster, and what it lists as it is now. Changes nothing."""
    store = ReceiptStore(cluster, federation)
    with Readings(WORKERS, cluster.silence) as executor:
        home = executor.submit(get_namespace, cluster, "kube-system")
        rotation = executor.submit(under_way.read, cluster, federation)
        receipt = executor.submit(store.read).result()
        live, begun = home.result(), rotation.result()
    if begun:
        at_once = (
            f"To take all away as it is, delete its state first: `kubectl -n {NAMESPACE} delete configmap {under_way.name_of(federation)}`."
        )
        stop([Objection("plan.rotation-under-way", begun.sentence, "", f"{begun.next_step} {at_once}")])
    if receipt and live and receipt.cluster != live.uid:
        what = f"The receipt in this cluster was written in another one ({receipt.cluster}; this is {live.uid})."
        why = "The other cluster may still rest on what the receipt lists."
        stop([Objection("plan.other-cluster", what, why, "If that cluster is gone, use --receipt FILE with this receipt.")])
    return _prepare(receipt, federation, Sides(google, cluster, store))


def prepare_without_cluster(receipt: Receipt, google: GoogleClient) -> Destruction:
    """Do as `prepare`, for a cluster that is gone: only Google's side is taken away."""
    return _prepare(receipt, receipt.federation, Sides(google, None, None))


def _prepare(receipt: Receipt | None, federation: str, sides: Sides) -> Destruction:
    known = receipt or Receipt(federation, "", "")
    silences = [side.silence for side in (sides.google, sides.cluster) if side]
    with Readings(WORKERS, *silences) as executor:
        reader = Reader(sides.google, sides.cluster, executor)
        seen = observed.of_receipt(reader, known)
        changes = diff.deletions(known, seen)
        policies = reader.known_policies()
    if changes:
        in_cluster = preflight.not_deletable(sides.cluster, changes) if sides.cluster else ()
        stop((*preflight.lacking(sides.google, changes, known.project), *in_cluster))
    subject = Subject(known.federation, known.cluster, known.project, "", "", "")
    gone = {change.address for change in changes}
    left = (address for address, one in seen.items() if one.status == "present" and address not in gone)
    return Destruction(Prepared(Plan(subject, (), changes), sides, known, seen, policies), tuple(left), receipt is not None)


def destroy(
    destruction: Destruction, *, notify: Callable[[Event], None] = lambda _: None, patience: timedelta = PATIENCE
) -> tuple[Change, ...]:
    """Take it away, then the receipt; return what was deleted.

    Raises:
        DriftSincePlanError: Another run is at work; nothing was changed.
        PartlyAppliedError: A step failed, or Ctrl-C; says how far it came. Running it again continues.
    """
    prepared = destruction.prepared
    with turn_for(prepared, "destroy"):
        made, final = _destroy(prepared, notify, patience)
    if prepared.sides.cluster and not final.entries:
        sweep(prepared.sides.cluster, prepared.receipt.federation, own=True)
        own_namespace.remove_if_empty(prepared.sides.cluster)
    return made


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
