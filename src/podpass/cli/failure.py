# SPDX-License-Identifier: Apache-2.0
"""How an error looks to the person at the terminal, and which exit code it becomes."""

import click

from podpass.errors import ConfigError, PodpassError

FAILED, WRONG_USAGE = 1, 2


def exit_code(error: PodpassError) -> int:
    """Return 2 for wrong usage or configuration, 1 for everything else."""
    return WRONG_USAGE if isinstance(error, ConfigError) else FAILED


def show(error: PodpassError) -> None:
    """Print the error on stderr: what happened with its code, then why, then what to do next."""
    click.secho("Error: ", fg="red", bold=True, err=True, nl=False)
    click.echo(f"{error.what} [{error.full_code}]", err=True)
    if error.why:
        click.echo(error.why, err=True)
    if error.next_step:
        click.secho("Next: ", bold=True, err=True, nl=False)
        click.echo(error.next_step, err=True)
