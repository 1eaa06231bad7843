# SPDX-License-Identifier: Apache-2.0
"""`podpass rotate`: another signing key for the cluster, with a measured gate after each step."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.session import Session, confirm, file_option, opened, yes_option
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError, PlanError

if TYPE_CHECKING:
    from podpass.federate.rotation.instructions import Instruction
    from podpass.federate.rotation.ledger import Ledger
    from podpass.federate.rotation.live import LiveSides
    from podpass.federate.rotation.rotation import Rotation

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Where the flags say less or nothing: kubelet renews a token after 24 h at the latest, so one of them may be as old as that.
_LEAST_LIFE = timedelta(hours=24)
_TITLES = {
    "announce": "A new key, beside the old one",
    "publish": "Google learns it",
    "switch": "The key that stays signs",
    "wait": "The last token of the leaving key ends",
    "retire": "The leaving key is not accepted any more",
    "forget": "Google forgets it",
}


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = value if isinstance(value, timedelta) else re.fullmatch(r"(\d+)([smhd])", value)
        if isinstance(found, timedelta):
            return found
        if not found:
            self.fail(f"{value!r} is no duration: write 90s, 10m, 24h or 7d.", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


@click.command()
@file_option
@click.option("--key", "of_key", is_flag=True, help="Rotate the key that signs tokens.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run stopped.")
@click.option("--abort", is_flag=True, help="Go back; possible until the old key leaves.")
@click.option(
    "--longest-token", type=_Duration(), help="How long a token lives at most; default: what the cluster's flags say, at least 24h."
)
@click.option("--wait", type=_Duration(), default="10m", show_default=True, help="How long to wait at a gate in this run.")
@yes_option
def command(*, file: Path, of_key: bool, resume: bool, abort: bool, longest_token: timedelta | None, wait: timedelta, yes: bool) -> None:
    """Give the cluster another signing key without one refused token.

    Says what to do to the control plane, step by step, and goes on when each API server is seen to have done it. Safe to stop; resume it
    later.
    """
    from podpass.federate.clusters.gathering import gather
    from podpass.federate.clusters.portrait import draw
    from podpass.federate.rotation.walk import Walk

    if not of_key:
        raise click.UsageError("Say what to rotate: --key. To move to another issuer, see `podpass export --format control-plane`.")
    if resume and abort:
        raise click.UsageError("--resume goes on, --abort goes back: choose one.")
    with opened(file) as session, _live(session) as (sides, ledger):
        rotation = ledger.read()
        portrait = draw(gather(session.cluster))
        if rotation is None:
            rotation = _begun(
                sides, longest_token or max(portrait.longest_token.value or _LEAST_LIFE, _LEAST_LIFE), resume=resume, abort=abort
            )
        else:
            rotation = _continued(rotation, resume=resume, abort=abort)
        _inventory(session, rotation)
        confirm("Go on?", yes=yes, command="rotate")
        distribution = portrait.distribution.value
        Walk(sides, ledger, _Screen(), distribution.name if distribution else None, wait).go(rotation)
    click.echo("The rotation is done. `podpass doctor` walks the chain with a real token.")


@contextmanager
def _live(session: Session) -> "Iterator[tuple[LiveSides, Ledger]]":
    from podpass.federate.planning import prepare
    from podpass.federate.rotation.ledger import Ledger
    from podpass.federate.rotation.live import LiveSides
    from podpass.google.rest import new_http

    with new_http() as http:
        facts = prepare(session.federation, session.google, session.cluster).facts
        assert facts is not None
        sides = LiveSides(session.federation, session.google, session.cluster, http, facts)
        yield sides, Ledger(session.cluster, session.federation.name)


def _begun(sides: "LiveSides", longest: timedelta, *, resume: bool, abort: bool) -> "Rotation":
    from podpass.federate.rotation.rotation import Rotation

    if resume or abort:
        raise ConfigError(
            "There is no rotation to go on with, or back.",
            "None was begun, or the last one has come to its end.",
            "`podpass doctor` shows whether all is well; `podpass rotate --key` begins one.",
            code="config.rotation-none",
        )
    plane = sides.control_plane()
    if plane.silent:
        raise PlanError(
            "Nothing was changed: not every API server answers.",
            f"{'; '.join(plane.silent)}.",
            "Bring it back first: it may have keys of its own.",
            code="plan.rotation",
        )
    signers = {server.signer for server in plane.servers}
    if len(signers) != 1 or len({server.kids for server in plane.servers}) != 1:
        raise PlanError(
            "Nothing was changed: the API servers do not agree on their keys.",
            "; ".join(f"{server.name} signs with {server.signer[:12]}… and serves {len(server.kids)}" for server in plane.servers) + ".",
            "Bring them in line first: tokens of one are refused by another.",
            code="plan.rotation",
        )
    missing = plane.kids - sides.known_kids()
    if missing:
        raise PlanError(
            "Nothing was changed: Google does not have all of the cluster's keys now.",
            f"It lacks {', '.join(sorted(kid[:12] for kid in missing))}….",
            "Run `podpass keys sync` first.",
            code="plan.rotation",
        )
    return Rotation.begin(plane.kids, signers.pop(), longest)


def _continued(rotation: "Rotation", *, resume: bool, abort: bool) -> "Rotation":
    if abort:
        return rotation.turned_back()
    if not resume:
        raise ConfigError(
            f"A rotation is under way: its next step is `{rotation.phase}`.",
            "",
            "Go on with --resume, or back with --abort.",
            code="config.rotation-under-way",
        )
    return rotation


def _inventory(session: Session, rotation: "Rotation") -> None:
    from podpass.federate.rotation.secrets import lasting_tokens

    click.secho(f"{'Going back with' if rotation.is_back else 'Rotating'} the signing key of {session.where}", bold=True)
    click.echo(wrap(f"  Keys now: {', '.join(f'{kid[:12]}…' for kid in sorted(rotation.old))}; {rotation.signer[:12]}… signed.", rest=4))
    hours = rotation.longest_token.total_seconds() / 3600
    click.echo(
        wrap(f"  A token lives {hours:g} h at most, so the old key stays accepted that long after the switch (--longest-token).", rest=4)
    )
    lasting = lasting_tokens(session.cluster, rotation.old)
    if lasting is None:
        click.echo(wrap("  Secrets of type kubernetes.io/service-account-token cannot be listed: make sure that none is in use.", rest=4))
    elif lasting:
        click.echo(
            wrap("  Tokens in Secrets never end by themselves. Make these anew after the switch, before the old key leaves:", rest=4)
        )
        for name in lasting:
            click.echo(f"    {name}")
    click.echo()


class _Screen:
    """Tells a person."""

    def step(self, rotation: "Rotation") -> None:
        click.secho(_TITLES[rotation.phase], bold=True)

    def do(self, work: "Instruction") -> None:
        click.echo(wrap(f"  {work.purpose}", rest=2))
        for line in work.lines:
            click.echo(f"    {line}")

    def waiting(self, unmet: list[str]) -> None:
        for reason in unmet:
            click.secho(wrap(f"  … {reason}", rest=4), fg="yellow")

    def passed(self, rotation: "Rotation", detail: str) -> None:
        del rotation
        click.secho("  ✓ ", fg="green", nl=False)
        click.echo(wrap(detail, first=4, rest=4))
        click.echo()
