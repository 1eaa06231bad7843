# SPDX-License-Identifier: Apache-2.0
"""`podpass destroy`: take away what apply made."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.session import Session, confirm, file_option, google, opened, yes_option
from podpass.errors import ConfigError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from podpass.config.federation import Federation
    from podpass.federate.execution.destroy import Destruction
    from podpass.federate.model.change import Change
    from podpass.federate.records.receipt import Receipt


@click.command()
@file_option
@yes_option
@click.option(
    "--receipt",
    type=click.Path(dir_okay=False, path_type=Path),
    help="For a cluster that is gone: the receipt that `apply --save-receipt` or a backup of it kept. Google's side alone is cleaned up.",
)
def command(*, file: Path, yes: bool, receipt: Path | None) -> None:
    """Take away what apply made, and nothing else.

    What existed before stays, and so do enabled APIs. Pools and providers are kept by Google for 30 days; their ids stay taken.
    """
    from podpass.cli.plan_view import progress
    from podpass.federate.execution import destroy as federate

    with ExitStack() as stack:
        if receipt:
            cluster = ""
            destruction = federate.prepare_without_cluster(_read(receipt), _file(file), stack.enter_context(google()))
        else:
            session = stack.enter_context(opened(file))
            cluster = session.where
            destruction = _prepared(session)
        _show(destruction, cluster)
        if destruction.changes:
            confirm("Take these away?", yes=yes, command="destroy")
        with progress() as notify:
            gone = federate.destroy(destruction, notify=notify)
    click.echo(_deleted(gone.changes) if gone.changes else _nothing_to_delete(destruction))
    if gone.unseen:
        click.echo(_namespace_stays(gone.unseen))


def _prepared(session: Session) -> "Destruction":
    from podpass.cli.plan_view import reading
    from podpass.federate.execution.destroy import prepare

    try:
        with reading():
            return prepare(session.federation, session.google, session.cluster)
    except UnreachableError as error:
        raise _with_receipt_in_mind(error) from error


def _show(destruction: "Destruction", cluster: str) -> None:
    from podpass.cli.plan_view import console, show_changes, show_subject

    out = console()
    if destruction.changes:
        show_subject(destruction.prepared.plan.subject, out, cluster)
    show_changes(destruction.changes, out)
    for address, why in destruction.left:
        click.echo(f"    {address}  stays: {why}")


def _deleted(changes: "Sequence[Change]") -> str:
    kept = any(change.address.startswith(("pool/", "provider/")) for change in changes)
    back = " Deleted pools and providers can be had back for 30 days." if kept else ""
    return f"{len(changes)} thing{'' if len(changes) == 1 else 's'} deleted.{back}"


def _nothing_to_delete(destruction: "Destruction") -> str:
    of = destruction.prepared.plan.subject.federation
    none = "" if destruction.has_receipt else f": this cluster has no receipt of the federation {of}"
    return f"Nothing to take away{none}."


def _namespace_stays(unseen: tuple[str, ...]) -> str:
    from podpass.federate.records.receipt import NAMESPACE

    return (
        f"The namespace {NAMESPACE} stays: the cluster's API {', '.join(unseen)} gives no answer (`kubectl get apiservices`), so it cannot "
        "be seen whether anything else is in there. `podpass destroy` looks again when that API is back, or removed."
    )


def _with_receipt_in_mind(error: UnreachableError) -> UnreachableError:
    if error.full_code != "neighbour.cluster-unreachable":
        return error
    gone = "If it is gone for good, `podpass destroy --receipt FILE` takes Google's side away, by the receipt that was kept."
    return UnreachableError(error.what, error.why, f"{error.next_step} {gone}", code=error.full_code)


def _file(path: Path) -> "Federation | None":
    """Return the federation file, where it is still there: it speaks for what bears no mark."""
    from podpass.config.reading import load

    return load(path) if path.exists() else None


def _read(path: Path) -> "Receipt":
    from podpass.federate.records.receipt import Receipt

    try:
        return Receipt.from_text(path.read_text(encoding="utf-8"), origin=str(path))
    except OSError as error:
        raise ConfigError(f"The receipt {path} cannot be read.", f"{error.strerror}.", code="config.receipt") from error
