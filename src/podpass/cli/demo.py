# SPDX-License-Identifier: Apache-2.0
"""`podpass demo`: walk the articles in the sandbox."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from podpass.demo.story import Story


@click.command()
@click.argument("story", type=click.Choice(["federation"]), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--control-plane",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A real kube-apiserver, kube-controller-manager and etcd (`make cluster` obtains them).",
)
def command(*, story: str | None, as_json: bool, control_plane: Path | None) -> None:
    """Walk the articles in the sandbox.

    The steps are told on stderr while they happen, the result on stdout. Without a name: all.
    """
    from podpass.demo import federation

    tellers: dict[str, Callable[..., Story]] = {"federation": federation.tell}
    told = [teller(control_plane=control_plane) for name, teller in tellers.items() if story in {None, name}]
    if as_json:
        click.echo(json.dumps({"version": 1, "stories": [each.as_json() for each in told]}, indent=2))
        return
    for each in told:
        _show(each)


def _show(story: "Story") -> None:
    click.secho(f"\n{story.name}", bold=True)
    click.echo("Without the binding, Google answered the Job:")
    click.echo("".join(f"  {line}\n" for line in story.results["refusal"]), nl=False)
    click.echo("With it, the Job's log was the project's buckets:")
    click.echo("".join(f"  {line}\n" for line in story.results["buckets"]), nl=False)
    click.echo("Afterwards the universe was as before, but for what Google keeps for 30 days:")
    click.echo("".join(f"  {line}\n" for line in story.results["comparison"]["tombstones"]), nl=False)
