# SPDX-License-Identifier: Apache-2.0
"""`podpass roll`: bring one stage of a moved issuer to a Talos control plane, node by node."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.moving import Examined, examine
from podpass.cli.session import confirm, file_option, opened, yes_option
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError, UnsafePlanError

if TYPE_CHECKING:
    from podpass.federate.clusters.evidence import Node
    from podpass.federate.clusters.flags import ServiceAccountFlags
    from podpass.federate.clusters.move import Move, Stage
    from podpass.federate.clusters.roll import Happened

_STAGES = ["accept", "switch", "drop", "back"]
# What names the issuer to others, or publishes its keys.
_PUBLISHED = ("provider/", "object/", "bucket/", "pool/")


@click.command()
@click.argument("stage", type=click.Choice(_STAGES))
@file_option
@yes_option
def command(*, stage: str, file: Path, yes: bool) -> None:
    """Bring one stage of a moved issuer to a Talos control plane.

    accept: every API server takes tokens of both issuers. switch: the new issuer signs. drop: the old one's tokens are refused. back: takes
    accept or switch back. One node after the other, through talosctl; each API server is asked itself whether it has come back as meant,
    and none is touched after one that has not. Run it again to go on. For other distributions: podpass export --format control-plane.
    """
    from podpass.federate.clusters.move import plan_move
    from podpass.federate.clusters.probe import look_through
    from podpass.federate.clusters.roll import Roll
    from podpass.federate.clusters.talosctl import Talosctl

    seen = examine(file)
    nodes = _nodes(seen)
    talos = seen.federation.cluster.talos
    machines = Talosctl(talos.talosconfig if talos else None)
    told = tuple(machines.flags(node) for node in nodes)
    move = plan_move(seen.evidence, seen.portrait, seen.issuer, told)
    roll = Roll(machines, look_through(seen.access), notify=_tell)
    if stage == "back":
        _agree(move.back(), "It takes the last stage back, from the last node to the first.", nodes, yes=yes)
        roll.abort(move.back(), nodes)
    else:
        wanted = _wanted(move, stage, told, seen)
        if wanted is None:
            click.echo("Nothing to change: every server has it already.")
            return
        if stage == "switch":
            _check_published(file)
        _agree(wanted.flags, f"{wanted.purpose} {_felt(move, wanted)}".strip(), nodes, yes=yes)
        roll.run(wanted, nodes)
        if stage == "switch" and len(wanted.flags.issuers) > 1:
            click.echo(wrap(_when_to_drop(move)))
    click.echo("Done. `podpass doctor` walks the chain with a real token.")


def _nodes(seen: Examined) -> "tuple[Node, ...]":
    if seen.distribution != "talos":
        raise ConfigError(
            f"podpass reaches no machines of this cluster ({seen.distribution}).",
            "It drives Talos, whose machines have an API.",
            "Have the steps written: `podpass export --format control-plane`.",
            code="config.distribution",
        )
    nodes = tuple(node for node in seen.evidence.nodes if node.is_control_plane)
    if not nodes:
        raise ConfigError("No node says that it is one of the control plane.", "", "Let the operator list nodes.", code="config.nodes")
    return nodes


def _wanted(move: "Move", name: str, told: "tuple[ServiceAccountFlags, ...]", seen: Examined) -> "Stage | None":
    """Return the stage; None where nothing is left of it.

    Raises:
        UnsafePlanError: An earlier one is not done yet.
    """
    from podpass.federate.clusters.distributions.talos import release
    from podpass.federate.clusters.sheets.talos_patch import era_of, takes_several_issuers

    several = takes_several_issuers(era_of(release(seen.evidence) or ""))
    if not several and name != "switch":
        raise UnsafePlanError(f"There is no stage {name!r} here.", "Talos before 1.13 takes one issuer.", "Run `podpass roll switch`.")
    left = move.left(several=several)
    names = [stage.name for stage in left]
    if name not in names:
        return None
    if names[0] != name:
        raise UnsafePlanError(
            f"Nothing was changed: {names[0]} comes before {name}.",
            f"The {len(told)} servers are not all through with it.",
            f"Run `podpass roll {names[0]}`.",
        )
    return left[0]


def _felt(move: "Move", stage: "Stage") -> str:
    """Say what will be felt of a stage beyond the restarts."""
    from podpass.federate.clusters.rolling import gaps, last_token

    if stage.name == "drop":
        return last_token(move)
    return gaps(move, several=False)[0] if len(stage.flags.issuers) == 1 else ""


def _when_to_drop(move: "Move") -> str:
    end = move.old_ends(datetime.now(UTC))
    if end is None:
        return "Nothing limits how long a token may live: when the old issuer may go cannot be computed."
    return f"The last token of the old issuer will have ended by {end:%Y-%m-%d %H:%M} UTC: a time that is computed, not measured."


def _check_published(file: Path) -> None:
    """Refuse to sign with an issuer that Google does not know yet."""
    from podpass.federate.planning import prepare

    with opened(file) as session:
        changes = prepare(session.federation, session.google, session.cluster).plan.changes
    missing = [change.address for change in changes if change.address.startswith(_PUBLISHED)]
    if missing:
        raise UnsafePlanError(
            "Nothing was changed: the new issuer is not published yet.",
            f"The plan still has {', '.join(missing)}.",
            "Run `podpass apply` first.",
        )


def _agree(flags: "ServiceAccountFlags", purpose: str, nodes: "tuple[Node, ...]", *, yes: bool) -> None:
    click.echo(wrap(purpose))
    click.echo(wrap(f"Issuers: {', '.join(flags.issuers)}.", rest=2))
    click.echo(wrap(f"API audiences: {', '.join(flags.accepted_audiences)}.", rest=2))
    click.echo(wrap(f"Nodes: {', '.join(node.name for node in nodes)}.", rest=2))
    confirm("Restart their API servers, one after the other?", yes=yes, command="roll")


def _tell(node: "Node", happened: "Happened") -> None:
    click.echo(f"  {node.name}: {happened}", err=True)
