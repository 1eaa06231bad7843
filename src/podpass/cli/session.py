# SPDX-License-Identifier: Apache-2.0
"""What plan, apply, doctor, export and destroy share: the federation file and the two sides, opened and closed."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from podpass.cli.failure import FAILED
from podpass.errors import ConfigError

if TYPE_CHECKING:
    from podpass.config.federation import Federation
    from podpass.google.rest import GoogleClient
    from podpass.kube.client import KubeClient

DEFAULT_FILE = Path("podpass.yaml")


def _no_stdin(context: click.Context, option: click.Parameter, value: Path) -> Path:
    if str(value) == "-":
        raise click.BadParameter(
            "a federation file is not read from stdin, since paths in it are relative to it. Name a file.", context, option
        )
    return value


file_option = click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    show_default=True,
    callback=_no_stdin,
    help="The federation file.",
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@dataclass(frozen=True, slots=True)
class Session:
    """A federation with both sides open."""

    federation: "Federation"
    google: "GoogleClient"
    cluster: "KubeClient"

    @property
    def where(self) -> str:
        """The cluster, as a person knows it: the kubeconfig's context and the server."""
        return f"{self.cluster.access.context} ({self.cluster.access.server})"


@contextmanager
def opened(file: Path) -> Iterator[Session]:
    """Read the file, find the operator's credentials and the cluster; asks neither side anything yet."""
    from podpass.config.reading import load
    from podpass.kube.client import connect
    from podpass.kube.kubeconfig import load as load_kubeconfig

    federation = load(file)
    with ExitStack() as stack:
        cluster = stack.enter_context(connect(load_kubeconfig(federation.cluster.kubeconfig, federation.cluster.context)))
        yield Session(federation, stack.enter_context(google()), cluster)


def google() -> "GoogleClient":
    """Return a client of Google's APIs with the operator's credentials."""
    from podpass.google.connections import new_http
    from podpass.google.operator import find
    from podpass.google.rest import GoogleClient

    http = new_http()
    return GoogleClient(find(http), http=http)


def confirm(question: str, *, yes: bool, command: str) -> None:
    """Ask, unless told not to; refuse to guess where nobody can answer.

    Raises:
        ConfigError: There is no terminal, and --yes was not given.
        click.exceptions.Exit: The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigError(
            f"Nothing was changed: podpass {command} wants to be told that it may.",
            "There is no terminal to ask at.",
            "Read what is listed above, then run it again with --yes.",
            code="config.no-terminal",
        )
    if not click.confirm(question, err=True):
        click.echo("Nothing was changed.", err=True)
        raise click.exceptions.Exit(FAILED)
