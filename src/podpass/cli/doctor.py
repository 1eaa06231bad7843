# SPDX-License-Identifier: Apache-2.0
"""`podpass doctor`: walk the chain with a real token and name the broken link."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.failure import FAILED
from podpass.cli.session import file_option, opened
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError

if TYPE_CHECKING:
    from podpass.config.federation import Federation, Workload
    from podpass.federate.doctor import Link

_SIGNS = {"passed": ("✓", "green"), "failed": ("✗", "red"), "untried": ("-", "yellow")}
_SIGN, _INDENT = 4, 16


@click.command()
@file_option
@click.option("--workload", "only", metavar="NS/NAME", help="Examine this workload only.")
@click.pass_context
def command(context: click.Context, *, file: Path, only: str | None) -> None:
    """Walk the chain with a real token for each workload; name the first broken link and its cure.

    Asks for tokens and exchanges them, as the workloads do. Changes nothing.
    """
    from podpass.cli.plan_view import reading
    from podpass.federate import doctor
    from podpass.federate.planning.prepared import prepare
    from podpass.google.connections import new_http

    with opened(file) as session, new_http() as http:
        with reading():
            prepared = prepare(session.federation, session.google, session.cluster)
        if prepared.facts is None or prepared.federation is None:  # pragma: no cover - prepare always asks
            raise AssertionError
        workloads = _chosen(prepared.federation, only)
        federation = prepared.federation
        if begun := prepared.under_way:
            click.echo(wrap(f"{begun.sentence} {begun.next_step}"))
            federation = begun.move.as_file(federation, begun.move.signing(prepared.facts.issuer)) if begun.move else federation
        patient = doctor.Patient(federation, prepared.facts, prepared, http)
        is_sound = _show(session.federation.name, doctor.of_the_cluster(patient))
        if is_sound:
            moment = datetime.now(UTC)
            walks = [_show(str(one), doctor.of_workload(patient, session.cluster, one, moment)) for one in workloads]
            is_sound = all(walks)
    if not is_sound:
        context.exit(FAILED)


def _chosen(federation: "Federation", only: str | None) -> "tuple[Workload, ...]":
    if only is None:
        return federation.workloads
    found = tuple(one for one in federation.workloads if str(one) == only) or tuple(_of_namespace(federation, only))
    if not found:
        known = ", ".join(str(one) for one in federation.workloads)
        raise ConfigError(f"{only!r} is no workload of this federation.", f"It has {known or 'none'}.", code="config.workload")
    return found


def _of_namespace(federation: "Federation", only: str) -> "Iterator[Workload]":
    """Yield the workload that an account has because its whole namespace has it."""
    from podpass.names import ServiceAccountRef

    for workload in federation.workloads:
        if workload.is_namespace and only.partition("/")[0] == workload.service_account.namespace:
            yield replace(workload, service_account=ServiceAccountRef.parse(only))


def _show(title: str, links: "Iterable[Link]") -> bool:
    """Print a walk; return whether no link was broken."""
    click.secho(title, bold=True)
    is_sound = True
    for link in links:
        sign, colour = _SIGNS[link.state]
        click.secho(f"  {sign} ", fg=colour, nl=False)
        click.echo(wrap(f"{link.name:<11} {link.detail}", first=_SIGN, rest=_INDENT))
        if link.state == "failed":
            is_sound = False
            click.secho(f"{'Next: ':>{_INDENT}}", bold=True, nl=False)
            click.echo(wrap(link.cure, first=_INDENT, rest=_INDENT))
    click.echo()
    return is_sound
