# SPDX-License-Identifier: Apache-2.0
"""`podpass rotate --issuer`: the cluster moves to the issuer that the file names, with a measured gate after each step."""

from typing import TYPE_CHECKING

import click

from podpass.cli.duration import in_words
from podpass.cli.rotate_options import Options, check_begins, continued, longest_life, outliving
from podpass.cli.rotate_screen import Screen
from podpass.cli.session import Session, confirm
from podpass.cli.wrapping import wrap
from podpass.errors import UnsafePlanError

if TYPE_CHECKING:
    from podpass.config.federation import Distribution, Workload
    from podpass.federate.clusters.evidence import Evidence
    from podpass.federate.clusters.portrait import Portrait
    from podpass.federate.planning.prepared import Prepared
    from podpass.federate.records.issuer_move import IssuerMove
    from podpass.federate.rotation.issuer.pods import Pod
    from podpass.federate.rotation.issuer.sides import MoveSides

_TITLES = {
    "publish": "The coming issuer is published, and has a provider beside the present one",
    "tell": "Pods learn both providers",
    "accept": "Every API server takes tokens of both issuers",
    "switch": "The issuer that stays signs",
    "configure": "The credential configurations name its provider",
    "wait": "The last token of the leaving issuer ends",
    "drop": "The leaving issuer is not accepted any more",
    "forget": "Its provider goes",
}
_SHOWN = 5


def run(session: Session, options: Options) -> None:
    """Move the issuer, or go on with it, or back."""
    from podpass.federate.clusters.gathering import gather
    from podpass.federate.clusters.portrait import draw
    from podpass.federate.planning.prepared import prepare
    from podpass.federate.rotation.issuer.beginning import check_servers
    from podpass.federate.rotation.issuer.ledger import MoveLedger
    from podpass.federate.rotation.issuer.sides import MoveSides
    from podpass.federate.rotation.issuer.walk import MoveWalk
    from podpass.google.connections import new_http

    ledger = MoveLedger(session.cluster, session.federation.name)
    move = ledger.read()
    ledger.lost(options.removed)
    if move is None:
        check_begins("--issuer", options)
    else:
        move = continued(move, options)
    prepared = prepare(session.federation, session.google, session.cluster, move)
    evidence = gather(session.cluster)
    portrait = draw(evidence)
    distribution = _distribution(session, portrait)
    is_new = move is None
    move = _begun(prepared, options, portrait, evidence, distribution) if move is None else outliving(move, portrait, options.longest_token)
    with new_http() as http:
        sides = MoveSides.of(session.federation, prepared, move, http)
        if is_new:
            check_servers(move, sides.control_plane())
        _inventory(session, sides, move)
        confirm("Go on?", yes=options.yes, command="rotate")
        walk = MoveWalk(sides, ledger, Screen(_TITLES), distribution, options.wait, workloads=sides.workloads)
        done = walk.go(move)
    _farewell(session, prepared, done)


def _distribution(session: Session, portrait: "Portrait") -> "Distribution":
    declared, found = session.federation.cluster.distribution, portrait.distribution.value
    return declared if declared != "auto" else found.name if found else "other"


def _begun(
    prepared: "Prepared",
    options: Options,
    portrait: "Portrait",
    evidence: "Evidence",
    distribution: "Distribution",
) -> "IssuerMove":
    from podpass.federate.clusters.one_issuer import takes_one_issuer
    from podpass.federate.rotation.issuer.beginning import begin

    is_abrupt = takes_one_issuer(distribution, evidence)
    move = begin(prepared, longest_life(portrait, options.longest_token), is_abrupt=is_abrupt)
    if is_abrupt and not options.with_refusals:
        raise UnsafePlanError(
            f"Nothing was changed: this cluster ({distribution}) cannot move without refused tokens.",
            f"Its API servers can be told one issuer at a time. {_felt()}",
            "Keep the issuer: Google takes any https issuer, with keys: inline. Or plan a maintenance window, and add --with-refusals.",
            code="plan.rotation-one-issuer",
        )
    return move


def _felt() -> str:
    from podpass.federate.clusters.move import RENEWAL

    return (
        "A server that signs with the new issuer refuses every token of the old one, until kubelet has renewed it: "
        f"{RENEWAL.total_seconds() / 60:.0f} minutes at the latest for Kubernetes' own tokens (computed), unless the pod is restarted."
    )


def _inventory(session: Session, sides: "MoveSides", move: "IssuerMove") -> None:
    from podpass.federate.rotation.issuer import pods

    click.secho(f"{'Going back with' if move.is_back else 'Moving'} the issuer of {session.where}", bold=True)
    for label, one in (("From", move.leaves), ("to", move.stays)):
        click.echo(f"  {label:<4} {one.issuer} (provider {one.provider})")
    life = in_words(move.longest_token)
    notes = [
        f"A token lives {life} at most, so the leaving issuer stays accepted that long after the switch (--longest-token).",
        "Whoever else verifies the cluster's tokens has to take both issuers before the switch: policies of guards, Vault, other clouds.",
        *([_felt()] if move.is_abrupt else []),
    ]
    for note in notes:
        click.echo(wrap(f"  {note}", rest=4))
    click.echo()
    _readers(sides.workloads, pods.read(session.cluster, sides.workloads))


def _readers(workloads: "tuple[Workload, ...]", found: "list[Pod] | None") -> None:
    """Say what will be felt of the switch, by whom."""
    from podpass.federate.rotation.issuer.pods import first_renewal, out_of_reach

    click.secho("What pods will feel", bold=True)
    click.echo(
        wrap(
            "  Nothing, where podpass trades the tokens (podpass.client.google_auth, podpass metadata-server --credential-config): it "
            "chooses the provider by the token. Programs that read their credential configuration once, as Google's own libraries do, are "
            "refused from the moment kubelet renews their token after the switch, until they are restarted. The steps say when to restart "
            "them so that none is.",
            rest=2,
        )
    )
    for workload in workloads:
        minutes = first_renewal(workload).total_seconds() / 60
        kept = "" if workload.credentials else "; its configuration is not podpass's: write the new provider into it yourself"
        click.echo(wrap(f"    {workload}: kubelet renews its tokens every {minutes:.0f} minutes{kept}", rest=6))
    unreached = out_of_reach(found or [], workloads)
    if unreached:
        more = f" and {len(unreached) - _SHOWN} more" if len(unreached) > _SHOWN else ""
        click.echo(
            wrap(
                f"  These mount single keys of the config map (items, subPath), so the list of providers does not reach them, and they "
                f"count as such programs: {', '.join(unreached[:_SHOWN])}{more}.",
                rest=4,
            )
        )
    click.echo()


def _farewell(session: Session, prepared: "Prepared", move: "IssuerMove") -> None:
    end = "The move is done."
    if move.is_back:
        end = (
            f"The move was taken back: the cluster signs with {move.stays.issuer}, as before, and takes no token of {move.leaves.issuer}; "
            f"Google has the provider {move.stays.provider} for its tokens, and none for the others."
        )
    click.echo(wrap(f"{end} `podpass doctor` walks the chain with a real token."))
    if move.is_back and session.federation.google.provider.id == move.leaves.provider:
        click.echo(wrap(f"The file still names {move.leaves.provider}: write {move.stays.provider} and {move.stays.issuer} back into it."))
    # A way back may begin before it was made.
    if move.leaves.bucket and f"bucket/{move.leaves.bucket.name}" in prepared.receipt.entries:
        name = move.leaves.bucket.name
        click.echo(
            wrap(
                f"The bucket {name} is left as it is: nobody needs its documents any more. What podpass made of it, "
                f"`podpass apply --allow-delete 'bucket/{name}' --allow-delete 'object/{name}/*' --allow-delete 'grant/allUsers:*{name}'` "
                "takes away."
            )
        )
    if move.leaves.provider in session.federation.google.provider.former_ids:
        click.echo(
            wrap(f"google.provider.formerIds keeps the audience of {move.leaves.provider}: take it out when no manifest names it any more.")
        )
