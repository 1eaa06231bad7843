# SPDX-License-Identifier: Apache-2.0
"""`podpass export`: the plan as a script, manifests or issuer documents."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.session import file_option, opened
from podpass.cli.wrapping import wrap

if TYPE_CHECKING:
    from podpass.federate.clusters.sheet import Sheet

FORMATS = ["gcloud", "manifests", "documents", "control-plane"]


@click.command()
@file_option
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="What to write.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Where to: a directory for documents and control-plane, else a file; default: stdout.",
)
def command(*, file: Path, form: str, output: Path | None) -> None:
    """Print the plan as a script or manifests, or the issuer's documents for a static host.

    gcloud: what `podpass apply` would do now, as commands. manifests: the cluster's side, for kubectl apply. documents: the discovery
    document and the keys, to be served below the issuer's URL. control-plane: how this cluster's API servers come to sign with issuer.url:
    files, commands and gates in order, from where the cluster stands. Changes nothing.
    """
    from podpass.federate.desired import desired
    from podpass.federate.export.manifests import manifests
    from podpass.federate.export.script import script
    from podpass.federate.model import documents
    from podpass.federate.planning.prepared import prepare

    if form == "control-plane":
        _write_sheet(_sheet(file), output)
        return
    with opened(file) as session:
        prepared = prepare(session.federation, session.google, session.cluster)
    if form == "gcloud":
        prepared.check_applicable()
    if form == "documents":
        if prepared.facts is None:  # pragma: no cover - prepare always asks
            raise AssertionError
        issuer = desired.declared_issuer(session.federation, prepared.facts)
        _write_documents(documents.published(issuer, prepared.facts.jwks), output, issuer.url)
        if desired.keys_mode(session.federation, issuer) == "inline":
            note = "Note: Google reads none of these, as the provider holds the keys themselves (keys: inline): they are for others."
            click.echo(wrap(note), err=True)
        return
    text = script(prepared.plan) if form == "gcloud" else manifests(prepared.federation or session.federation, prepared.plan)
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


def _write_documents(found: dict[str, str], folder: Path | None, issuer: str) -> None:
    for path, content in found.items():
        if folder is None:
            click.echo(f"# {issuer}/{path}\n{content.rstrip()}\n")
            continue
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        click.echo(f"{target}  ->  {issuer}/{path}")


def _sheet(file: Path) -> "Sheet":
    """Work out the move. Asks the cluster, and Google nothing: who runs the control plane need not be who administers the project."""
    from podpass.cli.moving import examine
    from podpass.federate.clusters.move import plan_move
    from podpass.federate.clusters.rendering import render

    seen = examine(file)
    move = plan_move(seen.evidence, seen.portrait, seen.issuer)
    return render(move, seen.evidence, seen.distribution)


def _write_sheet(sheet: "Sheet", output: Path | None) -> None:
    if output is None:
        click.echo(sheet.text(), nl=False)
        return
    for file in sheet.files():
        target = output / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.content, encoding="utf-8")
        click.echo(str(target))
