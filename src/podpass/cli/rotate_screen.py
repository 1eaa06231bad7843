# SPDX-License-Identifier: Apache-2.0
"""What a walk of `podpass rotate` prints."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Generic, TypeVar

import click

from podpass.cli.wrapping import wrap

if TYPE_CHECKING:
    from podpass.federate.records.issuer_move import IssuerMove
    from podpass.federate.rotation.instruction import Instruction
    from podpass.federate.rotation.key.rotation import Rotation

S = TypeVar("S", "Rotation", "IssuerMove")


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
