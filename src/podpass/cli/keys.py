# SPDX-License-Identifier: Apache-2.0
"""`podpass keys sync`: Google gets the keys that the cluster has now, after a rebuild or a rotation by hand."""

from pathlib import Path

import click

from podpass.cli.session import confirm, file_option, opened, yes_option


@click.group()
def command() -> None:
    """Keep the keys that Google has of the cluster in step."""


@command.command(short_help="Bring Google the keys that the cluster serves.")
@file_option
@yes_option
def sync(*, file: Path, yes: bool) -> None:
    """Bring the keys that Google has up to those that the cluster serves; nothing else is touched."""
    from podpass.cli.plan_view import console, reading, show_plan
    from podpass.federate.execution.key_sync import key_changes, sync_keys
    from podpass.federate.planning.prepared import prepare

    with opened(file) as session:
        with reading():
            prepared = key_changes(prepare(session.federation, session.google, session.cluster))
        show_plan(prepared.plan, console(), session.where)
        if prepared.plan.changes:
            confirm("Make these changes?", yes=yes, command="keys sync")
            sync_keys(prepared)
            click.echo("Google has the cluster's keys.")
