# SPDX-License-Identifier: Apache-2.0
"""`podpass rotate`: another signing key for the cluster, or another issuer, with a measured gate after each step."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.rotating import Duration, Screen, check_begins, continued, longest_life, outliving
from podpass.cli.session import Session, confirm, file_option, opened, yes_option
from podpass.cli.single_key import refuse_single_key
from podpass.cli.wrapping import wrap
from podpass.errors import PlanError

if TYPE_CHECKING:
    from podpass.federate.rotation.ledger import Ledger
    from podpass.federate.rotation.live import LiveSides
    from podpass.federate.rotation.rotation import Rotation

_TITLES = {
    "announce": "A new key, beside the old one",
    "publish": "Google learns it",
    "switch": "The key that stays signs",
    "wait": "The last token of the leaving key ends",
    "retire": "The leaving key is not accepted any more",
    "forget": "Google forgets it",
}


@click.command()
@file_option
@click.option("--key", "of_key", is_flag=True, help="Rotate the key that signs tokens.")
@click.option("--issuer", "of_issuer", is_flag=True, help="Move to the issuer, and the provider, that the file names.")
@click.option("--resume", is_flag=True, help="Go on where an earlier run stopped.")
@click.option("--abort", is_flag=True, help="Go back; possible until the old key or issuer leaves.")
@click.option(
    "--longest-token", type=Duration(), help="How long a token lives at most; default: what the cluster's flags say, at least 24h."
)
@click.option("--wait", type=Duration(), default="10m", show_default=True, help="How long to wait at a gate in this run.")
@click.option(
    "--removed-server",
    "removed",
    metavar="ADDRESS",
    multiple=True,
    help="An API server that was removed for good, as the rotation names it: it is not waited for. Repeatable.",
)
@click.option(
    "--with-refusals", is_flag=True, help="With --issuer: move a cluster, too, that refuses old tokens when the new issuer signs."
)
@yes_option
def command(  # noqa: PLR0913 - the options are what they are
    *,
    file: Path,
    of_key: bool,
    of_issuer: bool,
    resume: bool,
    abort: bool,
    longest_token: timedelta | None,
    wait: timedelta,
    removed: tuple[str, ...],
    with_refusals: bool,
    yes: bool,
) -> None:
    """Give the cluster another signing key, or another issuer, without one refused token.

    Says what to do to the control plane, step by step, and goes on when each API server is seen to have done it. Safe to stop; resume it
    later.
    """
    from podpass.cli import rotate_issuer

    if of_key == of_issuer:
        raise click.UsageError("Say what to rotate: --key or --issuer.")
    if resume and abort:
        raise click.UsageError("--resume goes on, --abort goes back: choose one.")
    if with_refusals and not of_issuer:
        raise click.UsageError("--with-refusals is for --issuer.")
    with opened(file) as session:
        if of_key:
            _rotate_key(session, resume=resume, abort=abort, longest_token=longest_token, wait=wait, removed=removed, yes=yes)
        else:
            begin = rotate_issuer.Beginning(longest_token, with_refusals=with_refusals)
            rotate_issuer.run(session, begin, resume=resume, abort=abort, wait=wait, removed=removed, yes=yes)


def _rotate_key(
    session: Session, *, resume: bool, abort: bool, longest_token: timedelta | None, wait: timedelta, removed: tuple[str, ...], yes: bool
) -> None:
    """Rotate the key, or go on with it, or back."""
    from podpass.federate.clusters.gathering import gather
    from podpass.federate.clusters.portrait import draw
    from podpass.federate.rotation.walk import Walk

    with _live(session) as (sides, ledger):
        rotation = ledger.read()
        ledger.lost(removed)
        evidence = gather(session.cluster)
        portrait = draw(evidence)
        if rotation is None:
            check_begins("--key", resume=resume, abort=abort)
            refuse_single_key(session, evidence)
            rotation = _begun(sides, longest_life(portrait, longest_token))
        else:
            rotation = outliving(continued(rotation, resume=resume, abort=abort), portrait, longest_token)
        _inventory(session, rotation)
        confirm("Go on?", yes=yes, command="rotate")
        distribution = portrait.distribution.value
        Walk(sides, ledger, Screen(_TITLES), distribution.name if distribution else None, wait).go(rotation)
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


def _begun(sides: "LiveSides", longest: timedelta) -> "Rotation":
    from podpass.federate.rotation.rotation import Rotation

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
