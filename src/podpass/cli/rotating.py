# SPDX-License-Identifier: Apache-2.0
"""What both kinds of `podpass rotate` share: durations as people write them, what a walk prints, and how one goes on."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import click

from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError

if TYPE_CHECKING:
    from podpass.federate.clusters.portrait import Portrait
    from podpass.federate.issuer_move import IssuerMove
    from podpass.federate.rotation.instructions import Instruction
    from podpass.federate.rotation.rotation import Rotation

S = TypeVar("S", "Rotation", "IssuerMove")

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# Where the flags say less or nothing: kubelet renews a token after 24 h at the latest, so one of them may be as old as that.
_LEAST_LIFE: Final = timedelta(hours=24)


class Duration(click.ParamType[timedelta]):
    """A number with its unit: 90s, 10m, 24h, 7d."""

    name = "duration"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the time."""
        found = value if isinstance(value, timedelta) else re.fullmatch(r"(\d+)([smhd])", value)
        if isinstance(found, timedelta):
            return found
        if not found:
            self.fail(f"{value!r} is no duration: write 90s, 10m, 24h or 7d.", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def longest_life(portrait: "Portrait", said: timedelta | None) -> timedelta:
    """Return how long a token lives at most: what was said, else what the cluster's flags say, 24 hours at least."""
    return said or max(portrait.longest_token.value or _LEAST_LIFE, _LEAST_LIFE)


def continued(rotation: S, *, resume: bool, abort: bool) -> S:
    """Return what is done with a rotation that was begun before.

    Raises:
        ConfigError: Nobody said that it is to go on, or back.
        PlanError: It cannot go back.
    """
    if abort:  # said again, where the run that turned back was stopped
        return rotation if rotation.is_back else rotation.turned_back()
    if not resume:
        raise ConfigError(
            f"A rotation is under way: its next step is `{rotation.phase}`.",
            "",
            "Go on with --resume, or back with --abort.",
            code="config.rotation-under-way",
        )
    return rotation


def outliving(rotation: S, portrait: "Portrait", said: timedelta | None) -> S:
    """Return it with the longest life that may be relied on: one shorter than the cluster's is a person's word, not the state's."""
    longest = longest_life(portrait, said)
    if said is None and rotation.longest_token >= longest:
        return rotation
    if said is None:
        kept, seen = (f"{life.total_seconds() / 3600:g} h" for life in (rotation.longest_token, longest))
        told = f"The state says that a token lives {kept} at most, the cluster {seen}: {seen} counts, unless you say --longest-token again."
        click.secho(wrap(told), fg="yellow")
    return replace(rotation, longest_token=longest)


def check_begins(option: str, *, resume: bool, abort: bool) -> None:
    """Refuse to go on or back where there is nothing.

    Raises:
        ConfigError: Somebody wants to.
    """
    if resume or abort:
        raise ConfigError(
            "There is no rotation to go on with, or back.",
            "None was begun, or the last one has come to its end.",
            f"`podpass doctor` shows whether all is well; `podpass rotate {option}` begins one.",
            code="config.rotation-none",
        )


class Screen(Generic[S]):
    """Tells a person how a walk goes.

    Args:
        titles: What each step is called.
    """

    def __init__(self, titles: Mapping[str, str]) -> None:
        self._titles = titles

    def step(self, rotation: S) -> None:
        """A step begins."""
        click.secho(self._titles[rotation.phase], bold=True)

    def do(self, work: "Instruction") -> None:
        """A person has to do something now."""
        click.echo(wrap(f"  {work.purpose}", rest=2))
        for line in work.lines:
            click.echo(f"    {line}")

    def waiting(self, unmet: list[str]) -> None:
        """The gate is closed."""
        for reason in unmet:
            click.secho(wrap(f"  … {reason}", rest=4), fg="yellow")

    def passed(self, rotation: S, detail: str) -> None:
        """The step is done."""
        del rotation
        click.secho("  ✓ ", fg="green", nl=False)
        click.echo(wrap(detail, first=4, rest=4))
        click.echo()
