# SPDX-License-Identifier: Apache-2.0
"""`podpass rotate`: another signing key for the cluster, or another issuer, with a measured gate after each step."""

from datetime import timedelta
from pathlib import Path

import click

from podpass.cli.duration import Duration
from podpass.cli.rotate_options import Options
from podpass.cli.session import file_option, opened, yes_option


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
    from podpass.cli import rotate_issuer, rotate_key

    if resume and abort:
        raise click.UsageError("--resume goes on, --abort goes back: choose one.")
    if of_key == of_issuer:
        raise click.UsageError(_which(is_begun=resume or abort) if of_key else "Say what to rotate: --key or --issuer.")
    if with_refusals and not of_issuer:
        raise click.UsageError("--with-refusals is for --issuer.")
    options = Options(resume, abort, longest_token, wait, removed, with_refusals, yes)
    with opened(file) as session:
        (rotate_key if of_key else rotate_issuer).run(session, options)


def _which(*, is_begun: bool) -> str:
    """Answer one who asks for both."""
    if is_begun:
        return "There is one rotation at a time: say --key or --issuer. `podpass plan` tells which of them is under way."
    return (
        "One is rotated at a time, the key first: the issuer to come then publishes the new key alone, and never speaks for the old one. "
        "Type `podpass rotate --key`, with the present issuer in the file. When that is done, write the issuer to come into the file, and "
        "type `podpass rotate --issuer`."
    )
