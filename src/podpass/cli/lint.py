# SPDX-License-Identifier: Apache-2.0
"""`podpass lint`: name each fault of a change to the control plane, of a federation file, or of the cluster itself."""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.failure import FAILED, show, unusable
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError

if TYPE_CHECKING:
    from podpass.federate.clusters.finding import Finding, Standing
    from podpass.federate.clusters.statement import Statement

SHAPE = "podpass.dev/lint/v1"
_COLOURS = {"error": "red", "warning": "yellow"}
_INDENT = 6


@click.command()
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, allow_dash=True))
@click.option("--cluster", "with_cluster", is_flag=True, help="Look at the cluster too, and compare the files with it.")
@click.option("--context", help="The kubeconfig's context; default: the current one. Implies --cluster.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def command(click_context: click.Context, *, files: tuple[Path, ...], with_cluster: bool, context: str | None, as_json: bool) -> None:
    """Name each fault in how tokens are issued, with its reason and its cure.

    FILES are patches and configurations of a control plane (Talos, kubeadm, kind, Cluster API, k3s, RKE2, k0s, kops, MicroK8s), manifests
    of workloads, scripts that call talosctl, and federation files; "-" is stdin. Without FILES the cluster itself is judged. Changes
    nothing. Exit code 1: there is an error among the findings.
    """
    found: list[Finding] = []
    now: Standing | None = None
    examined = [_name(file) for file in files]
    if with_cluster or context or not files:
        name, now, live = _cluster(context)
        examined.insert(0, f"the cluster {name}")
        found += live
    unread: list[ConfigError] = []
    for file in files:
        try:
            found += _file(file, now)
        except ConfigError as error:  # what is wrong with the other files is worth knowing all the same
            unread.append(error)
    if as_json:
        click.echo(json.dumps({"version": SHAPE, "findings": [one.as_json() for one in found]}, indent=2))
    elif len(unread) < len(files) or not files:
        _show(found, examined)
    for other in unread[:-1]:
        show(other)
    if unread:
        raise unread[-1]
    if any(one.severity == "error" for one in found):
        click_context.exit(FAILED)


def _cluster(context: str | None) -> "tuple[str, Standing, list[Finding]]":
    from podpass.federate.clusters.gathering import gather, projected_tokens
    from podpass.federate.clusters.lint_cluster import findings_of_cluster, standing_of
    from podpass.federate.clusters.portrait import draw
    from podpass.kube.client import connect
    from podpass.kube.kubeconfig import load

    access = load(None, context)
    with connect(access) as cluster:
        evidence, tokens = gather(cluster), projected_tokens(cluster)
    portrait = draw(evidence)
    for silence in evidence.silent.values():
        click.echo(f"Not examined: {silence}", err=True)
    return access.context, standing_of(evidence, portrait), list(findings_of_cluster(evidence, portrait, tokens))


def _file(file: Path, now: "Standing | None") -> "list[Finding]":
    from podpass.config.reading import parse
    from podpass.federate.clusters.lint import findings
    from podpass.federate.clusters.lint_cluster import findings_of_federation
    from podpass.federate.clusters.reading import is_federation, read

    name = _name(file)
    raw = _content(file)
    content = raw.decode(errors="replace")
    if is_federation(content):
        return list(findings_of_federation(parse(raw, Path(name))))
    said: tuple[Statement, ...] = read(content, name)
    return findings(said, now)


def _name(file: Path) -> str:
    return "stdin" if str(file) == "-" else str(file)


def _content(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise unusable(file, error) from error


def _show(found: "Iterable[Finding]", examined: "Iterable[str]") -> None:
    """Print each finding: code, where, what, why, cure; if there is none, where it was looked for."""
    errors = warnings = 0
    for one in found:
        errors, warnings = errors + (one.severity == "error"), warnings + (one.severity == "warning")
        click.secho(one.severity, fg=_COLOURS[one.severity], bold=True, nl=False)
        click.echo(f" {one.code}  {one.where}")
        for text in (one.what, one.why):
            click.echo(" " * _INDENT + wrap(text, first=_INDENT, rest=_INDENT))
        click.secho(f"{'Next: ':>{_INDENT}}", bold=True, nl=False)
        click.echo(wrap(one.cure, first=_INDENT, rest=_INDENT))
        click.echo()
    nothing = wrap(f"No faults found. Looked at: {', '.join(examined)}.")
    click.echo(f"{_count(errors, 'error')}, {_count(warnings, 'warning')}." if errors or warnings else nothing)


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'' if number == 1 else 's'}"
