# SPDX-License-Identifier: Apache-2.0
"""`podpass apply`: make Google trust the cluster as the file declares."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.session import confirm, file_option, opened, yes_option
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError

EVERYTHING = "*"

if TYPE_CHECKING:
    from podpass.federate.model.plan import Plan
    from podpass.federate.records.receipt import Receipt


@click.command()
@click.argument("plan_file", metavar="[PLANFILE]", required=False, type=click.Path(dir_okay=False, path_type=Path))
@file_option
@yes_option
@click.option("--allow-delete", metavar="ADDRESS", multiple=True, help="Allow to delete this; may hold *. Repeatable.")
@click.option("--allow-undelete", metavar="ADDRESS", multiple=True, help="Allow to undelete this; may hold *. Repeatable.")
@click.option(
    "--adopt",
    metavar="[ADDRESS]",
    multiple=True,
    is_flag=False,
    flag_value=EVERYTHING,
    help="Keep in line what existed before; it is never deleted. What seems to be another cluster's or federation's: by its ADDRESS only. "
    "Repeatable.",
)
@click.option("--save-receipt", type=click.Path(dir_okay=False, path_type=Path), help="Also write the receipt to this file.")
def command(
    *,
    plan_file: Path | None,
    file: Path,
    yes: bool,
    allow_delete: tuple[str, ...],
    allow_undelete: tuple[str, ...],
    adopt: tuple[str, ...],
    save_receipt: Path | None,
) -> None:
    """Make Google trust the cluster as the file, or a kept plan, says.

    Safe to stop at any moment and to repeat: it continues where it stopped.
    """
    from podpass.cli.plan_view import console, progress, reading, show_plan
    from podpass.federate.execution.apply import apply
    from podpass.federate.model.plan import check_no_drift
    from podpass.federate.planning.prepared import prepare
    from podpass.federate.safety.allowances import Allowances, check_allowed, needless

    plan_file, adopt = _apart(plan_file, adopt)
    if plan_file and plan_file.suffix in {".yaml", ".yml"}:
        raise click.UsageError(f"{plan_file} looks like a federation file, not like a plan: name it with -f {plan_file}.")
    kept = _kept(plan_file) if plan_file else None
    with opened(Path(kept.subject.file) if kept else file) as session:
        with reading():
            prepared = prepare(session.federation, session.google, session.cluster)
        if kept:
            check_no_drift(kept, prepared.plan)
        allowances = Allowances(allow_delete, allow_undelete, adopt)
        show_plan(prepared.plan, console(), session.where, allowances)
        for option in needless(prepared.plan, allowances):
            click.echo(wrap(f"Note: {option} allows nothing: the plan has no such change."), err=True)
        prepared.check_applicable()
        check_allowed(prepared.plan, allowances)
        if prepared.plan.changes:
            confirm("Make these changes?", yes=yes, command="apply")
        with progress() as notify:
            applied = apply(prepared, allowances, notify=notify)
    if applied.changes:
        count = len(applied.changes)
        click.echo(f"{count} change{'' if count == 1 else 's'} made. `podpass doctor` walks the chain with a real token.")
    elif applied.has_confirmed:
        click.echo("The receipt of an interrupted run is confirmed.")
    if save_receipt:
        _save(applied.receipt, save_receipt)


def _apart(plan_file: Path | None, adopt: tuple[str, ...]) -> tuple[Path | None, tuple[str, ...]]:
    """Tell a plan file that stands behind a bare --adopt from an address."""
    from podpass.federate.model.resource import is_address

    files = [one for one in adopt if one != EVERYTHING and not is_address(one)]
    if not files:
        return plan_file, adopt
    if plan_file or len(files) > 1 or not Path(files[0]).exists():
        raise click.UsageError(f"--adopt takes an address, as the plan prints it, or nothing: {files[0]!r} is none.")
    return Path(files[0]), (*(one for one in adopt if one != files[0]), EVERYTHING)


def _save(receipt: "Receipt", path: Path) -> None:
    try:
        path.write_text(receipt.to_text() + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The receipt could not be written to {path}; everything else is done.",
            f"{error.strerror}.",
            "The cluster has it: run the command again with another file.",
            code="config.file",
        ) from error


def _kept(path: Path) -> "Plan":
    from podpass.federate.model.plan import Plan

    try:
        return Plan.from_text(path.read_text(encoding="utf-8"), origin=str(path))
    except OSError as error:
        message = f"The plan {path} cannot be read."
        raise ConfigError(message, f"{error.strerror}.", f"Make it: `podpass plan -o {path}`.", code="config.plan-file") from error
