# SPDX-License-Identifier: Apache-2.0
"""The `podpass` command itself: finds a command's file by its name, and turns errors into sentences and exit codes."""

import errno
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib import import_module
from typing import Final

import click

from podpass import __version__
from podpass.cli.failure import FAILED, exit_code, helped, show, unusable
from podpass.cli.logs import set_up_logging
from podpass.cli.streams import discard, settle
from podpass.errors import ConfigError, PodpassError

_log = logging.getLogger(__name__)
_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

# name -> (module below podpass.cli, one line for --help); the help text must not cost an import of every command.
COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("init", "Write podpass.yaml from the current kubeconfig and project."),
    "plan": ("plan", "Show what apply would change."),
    "apply": ("apply", "Make Google trust the cluster as the file declares."),
    "doctor": ("doctor", "Walk the chain with a real token and name the broken link."),
    "lint": ("lint", "Name the faults of a cluster, or of a change to it."),
    "keys": ("keys", "Keep the keys that Google has of the cluster in step."),
    "rotate": ("rotate", "Give the cluster another signing key, gate by gate."),
    "roll": ("roll", "Bring a stage of a moved issuer to the control plane."),
    "destroy": ("destroy", "Take away what apply made, and nothing else."),
    "export": ("export", "Print the plan as a script, manifests or issuer documents."),
    "token": ("token", "Get, inspect or explain a token."),
    "metadata-server": ("metadata_server", "Serve Google's tokens inside a pod, as on GKE."),
    "demo": ("demo", "See it all work, step by step, in a sandbox."),
    "sandbox": ("sandbox", "Run Google and Kubernetes on this machine."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the commands in the order in which a person meets them."""
        return list(COMMANDS)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with; a mistyped one is told which was meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            close = ["--help"] if args[0] == "help" else get_close_matches(args[0], COMMANDS, n=1)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{close[0]}'?", ctx) from None

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command; None if there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"podpass.cli.{COMMANDS[cmd_name][0]}").command
        if not isinstance(command, click.Command):  # pragma: no cover - a programming error, seen by the first test
            raise TypeError(cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the list of commands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.option("--verbose", "-v", is_flag=True, help="Log what is done, on stderr.")
@click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="Form of log lines.")
@click.option("--no-color", is_flag=True, help="Print without colour; so does the variable NO_COLOR.")
@click.version_option(__version__, prog_name="podpass")
def podpass(*, verbose: bool, log_format: str, no_color: bool) -> None:
    """Give every Kubernetes workload a passport.

    Federates a cluster with Google Cloud, proves that it works, takes it back; and rehearses all of it on this machine.
    """
    if no_color:
        os.environ["NO_COLOR"] = "1"
    if os.environ.get("NO_COLOR"):
        click.get_current_context().color = False
    set_up_logging(logging.DEBUG if verbose else logging.WARNING, as_json=log_format == "json")


def main(args: Sequence[str] | None = None) -> None:
    """Run `podpass` and leave the process with its exit code."""
    _end_as_by_ctrl_c()
    settle()
    try:
        code = podpass.main(args=list(args) if args is not None else None, prog_name="podpass", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        code = 1
    except click.ClickException as error:
        helped(error).show()
        code = error.exit_code
    except PodpassError as error:
        show(error)
        code = exit_code(error)
    except BrokenPipeError:  # the reader of our output has gone: `podpass plan | head`
        discard(sys.stdout)
        code = FAILED
    except OSError as error:
        _log.debug("", exc_info=True)
        code = _unusable(error)
    sys.exit(code if isinstance(code, int) else 0)


def _unusable(error: OSError) -> int:
    """Say what is wrong with a file that the user named, -o into a folder that does not exist, or with the output itself."""
    if error.filename is not None:
        named = unusable(error.filename, error)
        show(named)
        return exit_code(named)
    if error.errno not in _NO_ROOM:
        raise error
    discard(sys.stdout)
    with suppress(OSError):  # it may be stderr that has no room
        full = ConfigError(
            "The output cannot be written.", f"{error.strerror}.", "Make room, or send it elsewhere, and run it again.", code="config.file"
        )
        show(full)
    return FAILED


def _end_as_by_ctrl_c() -> None:
    """Let SIGTERM and a closed terminal end podpass as Ctrl-C does: what was begun is tidied up. What the parent ignores stays ignored."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
