# SPDX-License-Identifier: Apache-2.0
"""`podpass init`: a first federation file from the current kubeconfig and project."""

from pathlib import Path

import click

from podpass.cli.session import DEFAULT_FILE
from podpass.errors import ConfigError


@click.command()
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_FILE, show_default=True, help="The file to write."
)
@click.option("--project", help="The project's id; default: the one of the credentials.")
@click.option("--context", help="The kubeconfig's context; default: the current one.")
@click.option("--workload", "workloads", metavar="NS/NAME", multiple=True, help="A Kubernetes account to begin with. Repeatable.")
def command(*, output: Path, project: str | None, context: str | None, workloads: tuple[str, ...]) -> None:
    """Write podpass.yaml from the current kubeconfig and project; asks nothing."""
    from podpass.federate.draft import draft
    from podpass.google.operator import find
    from podpass.google.rest import new_http
    from podpass.kube.kubeconfig import load
    from podpass.names import ServiceAccountRef

    access = load(None, context)
    if not project:
        with new_http() as http:
            project = find(http).project
    if not project:
        raise ConfigError(
            "The project is not known.",
            "Neither the credentials nor GOOGLE_CLOUD_PROJECT name one.",
            "Say it: podpass init --project ID.",
            code="config.project-unknown",
        )
    text = draft(access.context, project, [ServiceAccountRef.parse(one) for one in workloads])
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(
            f"{output} exists already.", "podpass overwrites no federation file.", "Name another with -o.", code="config.file-exists"
        ) from None
    click.echo(f"Wrote {output} for context {access.context!r} and project {project}.")
    next_step = "say in it what they may do" if workloads else "name your workloads in it"
    click.secho("Next: ", bold=True, nl=False)
    click.echo(f"{next_step}, then `podpass plan{'' if output == DEFAULT_FILE else f' -f {output}'}`.")
