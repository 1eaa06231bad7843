# SPDX-License-Identifier: Apache-2.0
"""`podpass init`: a first federation file from the current kubeconfig and project."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.session import DEFAULT_FILE
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError, NeighbourError

if TYPE_CHECKING:
    from podpass.federate.clusters.portrait import Advice, Portrait
    from podpass.kube.kubeconfig import ClusterAccess

_INDENT = 16


@click.command()
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), default=DEFAULT_FILE, show_default=True, help="The file to write."
)
@click.option("--project", help="The project's id; default: the one of the credentials.")
@click.option("--context", help="The kubeconfig's context; default: the current one.")
@click.option("--workload", "workloads", metavar="NS/NAME", multiple=True, help="A Kubernetes account to begin with. Repeatable.")
def command(*, output: Path, project: str | None, context: str | None, workloads: tuple[str, ...]) -> None:
    """Write podpass.yaml from the current kubeconfig and project; asks nothing.

    Looks at the cluster, says what it found out and how, and chooses the way with the least change. Changes nothing there.
    """
    from podpass.federate.export.draft import draft
    from podpass.kube.kubeconfig import load
    from podpass.names import ServiceAccountRef
    from podpass.names.project import check_project_id

    if str(output) == "-":
        raise click.UsageError("The federation file is not written to stdout: podpass says there what it found out. Name a file.")
    access = load(None, context)
    chosen = [ServiceAccountRef.parse(one) for one in workloads]
    project = check_project_id(project) if project else _project()
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(
                draft(access.context, project, chosen, fingerprint=_fingerprint(access))
            )  # before anybody is asked: a path that cannot be used is told at once
    except FileExistsError:
        raise ConfigError(
            f"{output} exists already.", "podpass overwrites no federation file.", "Name another with -o.", code="config.file-exists"
        ) from None
    if known := _look_at(access):
        output.write_text(draft(access.context, project, chosen, known, fingerprint=_fingerprint(access)), encoding="utf-8")
    click.echo(wrap(f"Wrote {output} for context {access.context!r} and project {project}."))
    if known:
        _show(*known)
    _say_next(output, is_known=known is not None, has_workloads=bool(workloads))


def _say_next(output: Path, *, is_known: bool, has_workloads: bool) -> None:
    again = "" if is_known else f"when the cluster answers, delete {output} and run `podpass init` again; it then says what is known. Or: "
    edit = "say in it what they may do" if has_workloads else "name your workloads in it"
    plan = f"`podpass plan{'' if output == DEFAULT_FILE else f' -f {output}'}`"
    click.secho("Next: ", bold=True, nl=False)
    click.echo(wrap(f"{again}{edit}, then {plan}.", first=len("Next: ")))


def _fingerprint(access: "ClusterAccess") -> str:
    """Return six letters that are this cluster's own: of its certificate authority, else of its address."""
    cluster = access.config.cluster
    return hashlib.sha256((cluster.certificate_auth_data or cluster.server).encode()).hexdigest()[:6]


def _project() -> str:
    from podpass.google.connections import new_http
    from podpass.google.operator import find

    with new_http() as http:
        project = find(http).project
    if not project:
        raise ConfigError(
            "The project is not known.",
            "Neither the credentials nor GOOGLE_CLOUD_PROJECT name one.",
            "Say it: podpass init --project ID.",
            code="config.project-unknown",
        )
    return project


def _look_at(access: "ClusterAccess") -> "tuple[Portrait, Advice] | None":
    """Ask the cluster; one that does not answer costs the facts, not the file."""
    from podpass.federate.clusters.gathering import gather
    from podpass.federate.clusters.portrait import advise, draw
    from podpass.kube.client import connect

    try:
        with connect(access) as cluster:
            portrait = draw(gather(cluster))
    except NeighbourError as error:
        click.echo(wrap(f"Nothing was found out about the cluster: {error.what} {error.why} {error.next_step}"), err=True)
        return None
    return portrait, advise(portrait)


def _show(portrait: "Portrait", advice: "Advice") -> None:
    """Print each fact with its source, and the choice with its reason."""
    for name, value, how in portrait.lines():
        click.secho(f"{name:<{_INDENT}}", bold=True, nl=False)
        click.echo(wrap(f"{value or 'unknown'} ({how})", first=_INDENT, rest=_INDENT))
    click.secho(f"{'chosen':<{_INDENT}}", bold=True, nl=False)
    click.echo(wrap(f"keys: {advice.keys}. {advice.why}", first=_INDENT, rest=_INDENT))
    if advice.obstacle:
        click.secho(f"{'But':<{_INDENT}}", fg="yellow", nl=False)
        click.echo(wrap(advice.obstacle, first=_INDENT, rest=_INDENT))
