# SPDX-License-Identifier: Apache-2.0
"""What a run of `podpass rotate` was told, and what follows from it: whether it begins, goes on or goes back, and for how long it waits."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

import click

from podpass.cli.duration import in_words
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError

if TYPE_CHECKING:
    from podpass.federate.clusters.portrait import Portrait
    from podpass.federate.records.issuer_move import IssuerMove
    from podpass.federate.rotation.key.rotation import Rotation

S = TypeVar("S", "Rotation", "IssuerMove")

# Where the flags say less or nothing: kubelet renews a token after 24 h at the latest, so one of them may be as old as that.
_LEAST_LIFE: Final = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Options:
    """The options, whatever is rotated.

    Attributes:
        resume: Go on where an earlier run stopped.
        abort: Go back.
        longest_token: How long a token lives at most; None: what the cluster's flags say.
        wait: How long to wait at a gate.
        removed: API servers that were removed for good.
        with_refusals: Of the issuer: tokens may be refused where the API servers can be told one issuer at a time.
        yes: Whether the answer to every question is known.
    """

    resume: bool
    abort: bool
    longest_token: timedelta | None
    wait: timedelta
    removed: tuple[str, ...]
    with_refusals: bool
    yes: bool


def longest_life(portrait: "Portrait", said: timedelta | None) -> timedelta:
    """Return how long a token lives at most: what was said, else what the cluster's flags say, 24 hours at least."""
    return said or max(portrait.longest_token.value or _LEAST_LIFE, _LEAST_LIFE)


def continued(rotation: S, options: Options) -> S:
    """Return what is done with a rotation that was begun before.

    Raises:
        ConfigError: Nobody said that it is to go on, or back.
        PlanError: It cannot go back.
    """
    if options.abort:  # said again, where the run that turned back was stopped
        return rotation if rotation.is_back else rotation.turned_back()
    if not options.resume:
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
        kept, seen = (in_words(life) for life in (rotation.longest_token, longest))
        told = f"The state says that a token lives {kept} at most, the cluster {seen}: {seen} counts, unless you say --longest-token again."
        click.secho(wrap(told), fg="yellow")
    return replace(rotation, longest_token=longest)


def check_begins(option: str, options: Options) -> None:
    """Refuse to go on or back where there is nothing.

    Raises:
        ConfigError: Somebody wants to.
    """
    if options.resume or options.abort:
        raise ConfigError(
            "There is no rotation to go on with, or back.",
            "None was begun, or the last one has come to its end.",
            f"`podpass doctor` shows whether all is well; `podpass rotate {option}` begins one.",
            code="config.rotation-none",
        )
