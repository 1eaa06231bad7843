# SPDX-License-Identifier: Apache-2.0
"""`podpass roll`: bring one stage of a moved issuer to the control plane, node by node."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.moving import Examined, examine
from podpass.cli.session import confirm, file_option, opened, yes_option
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError, UnsafePlanError
from podpass.names.secret import redact

if TYPE_CHECKING:
    from podpass.federate.clusters.evidence import Evidence, Node
    from podpass.federate.clusters.flags import ServiceAccountFlags
    from podpass.federate.clusters.machines.drive import Drive
    from podpass.federate.clusters.move import Move, Stage, StageName
    from podpass.federate.clusters.roll import Happened, Roll

_STAGES = ["accept", "switch", "drop", "back"]
# What names the issuer to others, or publishes its keys.
_PUBLISHED = ("provider/", "object/", "bucket/", "pool/")


@click.command()
@click.argument("stage", type=click.Choice(_STAGES))
@file_option
@yes_option
def command(*, stage: str, file: Path, yes: bool) -> None:
    """Bring one stage of a moved issuer to the control plane.

    accept: every API server takes tokens of both issuers. switch: the new issuer signs. drop: the old one's tokens are refused. back: takes
    accept or switch back. One node after the other, through talosctl, or a shell on the node (kubeadm, kind, k3s, RKE2); each API server is
    asked itself whether it has come back as meant, and none is touched after one that has not. Run it again to go on. For other
    distributions: podpass export --format control-plane.
    """
    from podpass.federate.clusters.machines.drive import check_driven, drive
    from podpass.federate.clusters.move import plan_move
    from podpass.federate.clusters.probe import look_through
    from podpass.federate.clusters.roll import Roll

    seen = examine(file)
    _check_move(seen, stage)
    check_driven(seen.distribution)
    nodes = _nodes(seen, stage)
    driven = drive(seen.distribution, seen.federation.cluster, seen.evidence, seen.access, nodes)
    told = tuple(driven.machines.flags(node) for node in nodes)
    move = plan_move(seen.evidence, seen.portrait, seen.issuer, told)
    roll = Roll(driven.machines, look_through(seen.access, server_of=driven.server_of), notify=_tell)
    asked = _Asked(driven, nodes, told, yes=yes)
    if stage == "back":
        _take_back(roll, asked, move)
    elif wanted := _wanted(move, stage, told, seen):
        if stage == "switch":
            _check_published(file)
        _bring(roll, asked, move, wanted)
    else:
        _finish(roll, asked)
        return
    click.echo("Done. `podpass doctor` walks the chain with a real token.")


def _check_move(seen: Examined, stage: str) -> None:
    """Refuse a stage that a move of the issuer, begun with `podpass rotate --issuer`, has not come to."""
    from podpass.federate.records import under_way
    from podpass.kube.client import connect

    with connect(seen.access) as cluster:
        begun = under_way.read(cluster, seen.federation.name)
    if begun and begun.move and begun.move.forbids(stage):
        raise UnsafePlanError(
            f"Nothing was changed: it is not the time to {stage}.", begun.sentence, begun.next_step, code="plan.rotation-stage"
        )


@dataclass(frozen=True, slots=True)
class _Asked:
    """Shows what a run would do, and asks.

    Attributes:
        driven: The control plane.
        nodes: Its nodes.
        told: What each of them is told.
        yes: Whether the answer is known.
    """

    driven: "Drive"
    nodes: "tuple[Node, ...]"
    told: "tuple[ServiceAccountFlags, ...]"
    yes: bool

    def stage(self, flags: "ServiceAccountFlags", purpose: str, name: "StageName") -> None:
        """Show a stage and what is written for it; return if it may be brought."""
        click.echo(wrap(purpose))
        click.echo(wrap(f"Issuers: {', '.join(flags.issuers)}.", rest=2))
        click.echo(wrap(f"API audiences: {', '.join(flags.accepted_audiences)}.", rest=2))
        for text, names in self._written(flags, name).items():
            click.echo(f"On {', '.join(names)}:")
            click.echo("\n".join(f"  {redact(line)}" for line in text.splitlines()))
        self._confirm(self.nodes, keeps=True)

    def rest(self, nodes: "tuple[Node, ...]", *, keeps: bool) -> None:
        """Show what an earlier run has left; return if it may be brought to its end."""
        click.echo("Every server is told it already; this is left of an earlier run.")
        self._confirm(nodes, keeps=keeps)

    def _written(self, flags: "ServiceAccountFlags", name: "StageName") -> dict[str, list[str]]:
        """Return each text that is to be written, with the names of the nodes that get it."""
        from podpass.federate.clusters.roll import is_done

        written: dict[str, list[str]] = {}
        for node, told in zip(self.nodes, self.told, strict=True):
            if not is_done(told, flags, name):
                written.setdefault(self.driven.machines.preview(node, flags), []).append(node.name)
        return written

    def _confirm(self, nodes: "tuple[Node, ...]", *, keeps: bool) -> None:
        if nodes:
            click.echo(wrap(f"Nodes: {', '.join(node.name for node in nodes)}.", rest=2))
        if keeps and self.driven.keeper:
            click.echo(wrap(f"For upgrades: {self.driven.keeper.note}", rest=2))
        if len(self.nodes) == 1:
            click.echo("This is the only API server: nobody answers while it restarts.")
        question = "Restart their API servers, one after the other?" if nodes else "Write it?"
        confirm(question, yes=self.yes, command="roll")


def _bring(roll: "Roll", asked: _Asked, move: "Move", wanted: "Stage") -> None:
    asked.stage(wanted.flags, f"{wanted.purpose} {_felt(move, wanted)}".strip(), wanted.name)
    roll.run(wanted, asked.nodes)
    _keep(asked.driven, wanted.flags)
    if wanted.name == "switch" and len(wanted.flags.issuers) > 1:
        click.echo(wrap(_when_to_drop(move)))


def _take_back(roll: "Roll", asked: _Asked, move: "Move") -> None:
    asked.stage(move.back(), "It takes the last stage back, from the last node to the first.", "switch")
    roll.abort(move.back(), asked.nodes)
    _keep(asked.driven, move.back())


def _finish(roll: "Roll", asked: _Asked) -> None:
    """Bring to its end what an earlier run has left of a stage that every machine is told already."""
    driven, flags = asked.driven, asked.told[0]
    left = tuple(node for node in asked.nodes if driven.machines.unfinished(node))
    keeps = driven.keeper is not None and all(one == flags for one in asked.told) and not driven.keeper.holds(flags)
    if not left and not keeps:
        click.echo("Nothing to change: every server has it already.")
        return
    asked.rest(left, keeps=keeps)
    if left:
        roll.finish(asked.nodes)
    if keeps:
        _keep(driven, flags)
    click.echo("Done.")


def _keep(driven: "Drive", flags: "ServiceAccountFlags") -> None:
    if driven.keeper:
        driven.keeper.hold(flags)


def nobody_in_control(evidence: "Evidence") -> ConfigError:
    """Return the error where no node is one of the control plane: they were not told, or none has the label."""
    label = "node-role.kubernetes.io/control-plane"
    why, cure = evidence.silent.get("nodes", ""), "Let the operator list nodes."
    if not why:
        why = f"The cluster lists {len(evidence.nodes)}, none with the label {label}."
        cure = f"Check the context, or label those that run an API server: `kubectl label node NAME {label}=`."
    return ConfigError("No node says that it is one of the control plane.", why, cure, code="config.nodes")


def _nodes(seen: Examined, stage: str) -> "tuple[Node, ...]":
    from podpass.federate.clusters.machines.census import check_census
    from podpass.kube.client import connect

    nodes = tuple(node for node in seen.evidence.nodes if node.is_control_plane)
    if not nodes:
        raise nobody_in_control(seen.evidence)
    if stage != "back":  # what has been brought is taken back whoever else there is
        with connect(seen.access) as cluster:
            check_census(cluster, nodes)
    return nodes


def _wanted(move: "Move", name: str, told: "tuple[ServiceAccountFlags, ...]", seen: Examined) -> "Stage | None":
    """Return the stage; None where nothing is left of it.

    Raises:
        UnsafePlanError: An earlier one is not done yet.
    """
    several = seen.distribution != "talos" or _talos_takes_several(seen)
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


def _talos_takes_several(seen: Examined) -> bool:
    from podpass.federate.clusters.distributions.talos import release
    from podpass.federate.clusters.sheets.talos_patch import era_of, takes_several_issuers

    return takes_several_issuers(era_of(release(seen.evidence) or ""))


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
    from podpass.federate.planning.prepared import prepare

    with opened(file) as session:
        changes = prepare(session.federation, session.google, session.cluster).plan.changes
    missing = [change.address for change in changes if change.address.startswith(_PUBLISHED)]
    if missing:
        raise UnsafePlanError(
            "Nothing was changed: the new issuer is not published yet.",
            f"The plan still has {', '.join(missing)}.",
            "Run `podpass apply` first.",
        )


def _tell(node: "Node", happened: "Happened") -> None:
    click.echo(f"  {node.name}: {happened}", err=True)
