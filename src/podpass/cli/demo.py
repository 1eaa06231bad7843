# SPDX-License-Identifier: Apache-2.0
"""`podpass demo`: walk the articles in the sandbox."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from podpass.demo.story import Story

_ABOUT = {
    "federation": "Google comes to trust a cluster, and a Job lists buckets",
    "services": "a client calls a guarded server, and others try",
    "google": "a pod gets Google's tokens from a metadata server, and calls a service on Cloud Run",
}


@click.command()
@click.argument("story", type=click.Choice(list(_ABOUT)), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--control-plane",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A real kube-apiserver, kube-controller-manager and etcd (`make cluster` obtains them).",
)
def command(*, story: str | None, as_json: bool, control_plane: Path | None) -> None:
    """See it all work, step by step, in a sandbox.

    federation: Google comes to trust a cluster, and a Job lists buckets. services: a client calls a guarded server, and others try.
    google: a pod gets Google's tokens from a metadata server, and calls a service on Cloud Run.

    The steps are told on stderr while they happen, the result on stdout. Without a name: all that can be told on this machine.
    """
    from podpass.demo import federation, google, services
    from podpass.demo.story import NotHereError, StoryError

    tellers: dict[str, Callable[..., Story]] = {"federation": federation.tell, "services": services.tell, "google": google.tell}
    told = []
    for name in [story] if story else tellers:
        click.secho(f"\n{name}: {_ABOUT[name]}", bold=True, err=True)
        try:
            told.append(tellers[name](control_plane=control_plane))
        except NotHereError as error:
            if story:
                raise
            click.secho(f"\n{error}", err=True, fg="yellow")
    if as_json:
        click.echo(json.dumps({"version": 1, "stories": [each.as_json() for each in told]}, indent=2))
    else:
        for each in told:
            _show(each)
    if faults := [fault for each in told for fault in each.faults]:
        raise StoryError(
            "The demo did not go as it should.", f"{'; '.join(faults)}.", "Please report it, with everything that was printed."
        )


def _show(story: "Story") -> None:
    click.secho(f"\n{story.name}", bold=True)
    for line in story.summary:
        click.echo(line)
