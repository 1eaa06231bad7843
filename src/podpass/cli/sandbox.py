# SPDX-License-Identifier: Apache-2.0
"""`podpass sandbox`: Google and Kubernetes on this machine."""

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from podpass.errors import ConfigError
from podpass.net.flights import Pool

ENVIRONMENT_FILE = "environment.json"
_LOOKS_EVERY_S = 0.1
_PROMPT = 'case $PS1 in "(sandbox) "*) ;; *) PS1="(sandbox) $PS1" ;; esac'
"""What bash runs before each prompt: the environment can bring that, and no prompt, which the shell's own files would overwrite."""
_PROMPT_OF_SHELL = f'if [ -n "${{PS1-}}" ]; then {_PROMPT}; fi'


def _checked_project(context: click.Context, option: click.Parameter, value: str) -> str:  # noqa: ARG001 - click's signature
    from podpass.names.project import check_project_id

    check_project_id(value)
    return value


def sandbox_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that shape a sandbox."""
    options = [
        click.option(
            "--project", "project_id", default="demo-project", show_default=True, callback=_checked_project, help="The project's id."
        ),
        click.option(
            "--propagation", type=click.FloatRange(0, 600), default=1.0, show_default=True, help="Seconds until a changed IAM policy holds."
        ),
        click.option(
            "--key-type", type=click.Choice(["rsa2048", "rsa4096", "p256"]), default="rsa2048", show_default=True, help="The cluster's key."
        ),
        click.option(
            "--control-plane",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="A real kube-apiserver, kube-controller-manager and etcd (`make cluster` obtains them).",
        ),
        click.option(
            "--faults", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="What goes wrong: a file of kind Faults."
        ),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def hosted(propagation: float, faults: Path | None, **settings: Any) -> Any:  # noqa: ANN401 - HostedSandbox, imported when it is needed
    """Return a sandbox, ready to be started, with the demo's images."""
    from podpass.demo.images import IMAGES
    from podpass.sandbox.faults_file import load
    from podpass.sandbox.hosting import HostedSandbox
    from podpass.sandbox.settings import SandboxSettings

    is_built_in = settings["control_plane"] is None and settings.get("kubeconfig") is None
    weather = load(faults, kubernetes=is_built_in) if faults else None
    return HostedSandbox(SandboxSettings(propagation=timedelta(seconds=propagation), **settings), images=IMAGES, faults=weather)


@click.group()
def command() -> None:
    """Run Google and Kubernetes on this machine.

    Production URLs, production files, unmodified clients; nothing leaves the machine.
    """


@command.command("exec", short_help="Run one command in a sandbox of its own.", context_settings={"ignore_unknown_options": True})
@sandbox_options
@click.argument("cmd", nargs=-1, required=True, type=click.UNPROCESSED)
def execute(cmd: tuple[str, ...], **settings: Any) -> None:  # noqa: ANN401 - click's values
    """Start a sandbox, run CMD as a user who is logged in to it, end with its exit code.

    Write -- before CMD: podpass sandbox exec -- kubectl get nodes
    """
    if cmd[0].startswith("-"):
        raise click.NoSuchOption(cmd[0], ctx=click.get_current_context())
    with hosted(**settings) as sandbox, _signals_for_the_child() as adopt:
        try:
            child = subprocess.Popen(cmd, env={"PROMPT_COMMAND": _PROMPT, **os.environ, **sandbox.environment()})  # noqa: S603 - what the user asked for
        except (FileNotFoundError, PermissionError) as error:
            raise ConfigError(
                f"{cmd[0]!r} cannot be run.", f"{error.strerror}.", "Name a program that is on PATH.", code="config.command"
            ) from error
        adopt(child)
        code = _end_of(child)
    click.get_current_context().exit(code if code >= 0 else 128 - code)


def _end_of(child: "subprocess.Popen[bytes]") -> int:
    """Wait for a process. What is to be passed on to it may come just before a wait, which it would not end: so look up now and then."""
    ended = Pool("podpass-child", 1).launch(child.wait)
    while True:
        with suppress(TimeoutError):
            return ended.result(_LOOKS_EVERY_S)


@contextmanager
def _signals_for_the_child() -> Iterator["Callable[[subprocess.Popen[bytes]], None]"]:
    """Let the child end first. Ctrl-C is its own, the terminal sends it to both; what is sent to us alone is passed on to it."""
    children: list[subprocess.Popen[bytes]] = []
    early: list[int] = []

    def relay(number: int, _: object) -> None:
        if children:
            children[0].send_signal(number)
        else:
            early.append(number)

    def adopt(child: "subprocess.Popen[bytes]") -> None:
        children.append(child)
        for number in early:
            child.send_signal(number)

    def ignore(*_: object) -> None:
        """Do nothing; a handler, unlike SIG_IGN, is not inherited."""

    handlers: dict[int, Callable[[int, Any], None]] = {signal.SIGINT: ignore, signal.SIGTERM: relay, signal.SIGHUP: relay}
    previous = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield adopt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@command.command()
@sandbox_options
@click.option("--state", "state_dir", type=click.Path(file_okay=False, path_type=Path), help="Keep everything in this folder.")
@click.option(
    "--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Stand in front of this real cluster instead."
)
def run(state_dir: Path | None, **settings: Any) -> None:  # noqa: ANN401 - click's values
    """Run a sandbox until it is interrupted."""
    if settings["kubeconfig"] and settings["control_plane"]:
        raise click.UsageError("--kubeconfig and --control-plane exclude each other: both say which cluster it is.")
    told: list[int] = []  # no lock: a handler runs between any two steps of the very thread that would hold it
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: told.append(number))
    with hosted(state_dir=state_dir.absolute() if state_dir else None, **settings) as sandbox:
        environment = sandbox.environment()
        if state_dir:
            _keep(environment, state_dir / ENVIRONMENT_FILE)
            where = shlex.quote(str(state_dir.absolute()))  # the other terminal may be in another folder
            click.echo(f'The sandbox is up. Enter it from another terminal:\n  eval "$(podpass sandbox env --state {where})"')
        else:
            click.echo("The sandbox is up. Enter it from another terminal with these lines; with --state DIR it is one:")
            click.echo(_exports(environment))
        click.echo("Ctrl-C ends it.")
        while not told:
            time.sleep(_LOOKS_EVERY_S)
        if state_dir:  # while it is locked still: the next one may wait for it
            (state_dir / ENVIRONMENT_FILE).unlink(missing_ok=True)
    click.echo(f"The sandbox has ended; {state_dir} keeps what was in it." if state_dir else "The sandbox has ended.")


def _keep(environment: dict[str, str], path: Path) -> None:
    path.unlink(missing_ok=True)  # one that is there may be readable by others, or lead elsewhere
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it holds the admin token, and names credentials
    with os.fdopen(descriptor, "w") as file:
        json.dump(environment, file, indent=2)


def _exports(environment: dict[str, str]) -> str:
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in environment.items())


@command.command(short_help="Print what makes a shell enter a running sandbox.")
@click.option(
    "--state",
    "state_dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of `sandbox run --state`.",
)
def env(state_dir: Path) -> None:
    """Print `export` lines that enter a running sandbox; where none runs, a command that fails.

    Write `eval "$(podpass sandbox env --state DIR)" && …`, or set -e: a shell that has not entered still has the real cluster and login.
    """
    try:
        environment = _of_running(state_dir)
    except BaseException:
        # `eval` sees what is printed and not how the program ended: of nothing it would make a success.
        click.echo("false")
        raise
    click.echo(_exports(environment))
    click.echo(_PROMPT_OF_SHELL)


def _of_running(state_dir: Path) -> dict[str, str]:
    """Return the environment of the sandbox that runs in a folder.

    Raises:
        ConfigError: None does.
    """
    from podpass.sandbox.node.lease import LOCK, is_free

    lock, file = state_dir / LOCK, state_dir / ENVIRONMENT_FILE
    if not (lock.exists() and file.exists()) or is_free(lock):  # a killed one leaves its file behind
        raise ConfigError(
            f"No sandbox runs in {state_dir}.",
            "This shell has not entered one: it goes on with the cluster and the login that it had.",
            f"Start one: `podpass sandbox run --state {state_dir}`.",
            code="config.no-sandbox",
        )
    environment: dict[str, str] = json.loads(file.read_text())
    return environment
