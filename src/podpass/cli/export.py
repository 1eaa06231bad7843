# SPDX-License-Identifier: Apache-2.0
"""`podpass export`: the plan as a script, manifests or issuer documents."""

from pathlib import Path

import click

from podpass.cli.session import file_option, opened


@click.command()
@file_option
@click.option("--format", "form", type=click.Choice(["gcloud", "manifests", "documents"]), required=True, help="What to write.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Where to: a directory for documents, else a file; default: stdout.")
def command(*, file: Path, form: str, output: Path | None) -> None:
    """Print the plan as a script or manifests, or write the issuer's documents for a static host.

    gcloud: what `podpass apply` would do now, as commands. manifests: the cluster's side, for kubectl apply. documents: the discovery
    document and the keys, to be served below the issuer's URL. Changes nothing.
    """
    from podpass.federate import desired, documents
    from podpass.federate.manifests import manifests
    from podpass.federate.planning import prepare
    from podpass.federate.script import script

    with opened(file) as session:
        prepared = prepare(session.federation, session.google, session.cluster)
    if form == "documents":
        if prepared.facts is None:  # pragma: no cover - prepare always asks
            raise AssertionError
        issuer = desired.declared_issuer(session.federation, prepared.facts)
        _write_documents(documents.published(issuer, prepared.facts.jwks), output or Path("issuer"), issuer.url)
        return
    text = script(prepared.plan) if form == "gcloud" else manifests(session.federation, prepared.plan)
    if output:
        output.write_text(text, encoding="utf-8")
    else:
        click.echo(text, nl=False)


def _write_documents(found: dict[str, str], folder: Path, issuer: str) -> None:
    for path, content in found.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content, encoding="utf-8")
        click.echo(f"{target}  ->  {issuer}/{path}")
