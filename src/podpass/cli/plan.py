# SPDX-License-Identifier: Apache-2.0
"""`podpass plan`: what apply would change."""

from pathlib import Path

import click

from podpass.cli.session import file_option, opened

CHANGES = 10
_FORMS = frozenset({"json", "yaml", "wide", "text"})


def _no_form(context: click.Context, option: click.Parameter, value: Path | None) -> Path | None:
    """Refuse what is a form elsewhere: kubectl's -o json."""
    if str(value) in _FORMS:
        raise click.BadParameter(f"it names a file to keep the plan in, and {str(value)!r} is a form. --json prints JSON.", context, option)
    return value


@click.command()
@file_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    callback=_no_form,
    help="Keep the plan in this file, for `podpass apply FILE`.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as one JSON object.")
@click.option("--exit-code", is_flag=True, help="Exit with 10 if there is something to change, with 0 if not.")
@click.pass_context
def command(context: click.Context, *, file: Path, output: Path | None, as_json: bool, exit_code: bool) -> None:
    """Show what apply would change. Changes nothing."""
    from podpass.cli.plan_view import console, reading, show_plan
    from podpass.federate.planning.prepared import prepare

    with opened(file) as session, reading():
        prepared = prepare(session.federation, session.google, session.cluster)
        prepared.check_applicable()
        plan, cluster = prepared.plan, session.where
    if output:
        output.write_text(plan.to_text(), encoding="utf-8")
    if as_json:
        click.echo(plan.to_text(), nl=False)
    else:
        show_plan(plan, console(), cluster)
        if output:
            click.echo(f"Kept in {output}: `podpass apply {output}` makes exactly this.")
    if exit_code and plan.changes:
        context.exit(CHANGES)
