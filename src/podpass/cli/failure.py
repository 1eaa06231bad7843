# SPDX-License-Identifier: Apache-2.0
"""How an error looks to the person at the terminal, and which exit code it becomes."""

import errno
import os
import re
import sys
from typing import Final

import click

from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError, PodpassError
from podpass.names.quoting import printable

FAILED, WRONG_USAGE = 1, 2
_OF_PODPASS = frozenset({"-v", "--verbose", "--no-color", "--log-format", "--version"})
_CURES: Final = {
    errno.ENOENT: "Check its name, and that its folder is there.",
    errno.EISDIR: "Name a file: this is a folder.",
    errno.EACCES: "Name a file that you may use.",
    errno.EROFS: "Name a file that you may use.",
}
_FILE = re.compile(r"Got unexpected extra argument \((\S+\.ya?ml)\)")


def exit_code(error: PodpassError) -> int:
    """Return 2 for wrong usage or configuration, 1 for everything else."""
    return WRONG_USAGE if isinstance(error, ConfigError) else FAILED


def show(error: PodpassError) -> None:
    """Print the error on stderr: what happened with its code, then why, then what to do next. Lines are wrapped on a terminal only."""
    color = False if os.environ.get("NO_COLOR") else None  # the command, and its context with it, has ended
    click.secho("Error: ", fg="red", bold=True, err=True, nl=False, color=color)
    click.echo(_fitted(f"{error.what} [{error.full_code}]", first=len("Error: ")), err=True)
    if error.why:
        click.echo(_fitted(error.why), err=True)
    if error.next_step:
        click.secho("Next: ", bold=True, err=True, nl=False, color=color)
        click.echo(_fitted(error.next_step, first=len("Next: ")), err=True)


def unusable(file: object, error: OSError) -> ConfigError:
    """Return the error of a file that a command was given and cannot read or write."""
    return ConfigError(f"{file} cannot be used.", f"{error.strerror}.", _CURES.get(error.errno or 0, ""), code="config.file")


def helped(error: click.ClickException) -> click.ClickException:
    """Return a wrong usage with what was probably meant, where many type it: an option in another place, a file without its option."""
    if isinstance(error, click.NoSuchOption) and error.option_name in _OF_PODPASS and error.ctx:
        command = error.ctx.command_path.partition(" ")[2]
        return click.UsageError(f"{error.option_name} stands before the command: podpass {error.option_name} {command}.", error.ctx)
    if isinstance(error, click.UsageError) and (file := _FILE.fullmatch(error.message)):
        return click.UsageError(f"{error.message}. A federation file is named with -f: -f {file[1]}.", error.ctx)
    return error


def _fitted(text: str, *, first: int = 0) -> str:
    """Wrap each line of a text below its own beginning; a text for a file or a pipe stays as it is."""
    if not sys.stderr.isatty():
        return printable(text)
    lines = []
    for line in text.split("\n"):
        words = line.lstrip(" ")
        indent = len(line) - len(words)
        lines.append(" " * indent + wrap(words, first=indent + first, rest=indent + (2 if words.startswith("- ") else 0)))
        first = 0
    return "\n".join(lines)
