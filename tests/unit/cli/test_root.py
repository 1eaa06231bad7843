# SPDX-License-Identifier: Apache-2.0
"""What a person meets who mistypes, misses, or changes their mind."""

import errno
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from podpass.cli.apply import _apart
from podpass.cli.root import podpass
from unit.cli.conftest import Type

PROGRAM = str(Path(sys.executable).with_name("podpass"))
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: here
contexts: [{name: here, context: {cluster: here, user: me}}]
clusters: [{name: here, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: me, user: {token: none}}]
"""


def run(*arguments: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    bare = {name: value for name, value in os.environ.items() if name not in {"GOOGLE_APPLICATION_CREDENTIALS", "KUBECONFIG"}}
    return subprocess.run(
        [PROGRAM, *arguments], cwd=folder, env=bare | {"HOME": str(folder)} | environment, capture_output=True, text=True, check=False
    )


def on_a_terminal(*command: str, **environment: str) -> str:
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover - another process
        os.environ.update(environment)
        os.execvp(command[0], command)
    seen = b""
    while select.select([terminal], [], [], 30)[0]:
        try:
            octets = os.read(terminal, 4096)
        except OSError:  # so Linux says that the other side has gone
            break
        if not octets:
            break
        seen += octets
    os.waitpid(pid, 0)
    os.close(terminal)
    return seen.decode().replace("\r\n", "\n")


def met_by_a_reader(pipe: Path) -> int:
    """Open a named pipe for writing, as soon as somebody reads it."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() > deadline:  # ENXIO: nobody yet
                raise
            time.sleep(0.01)


def test_the_list_of_subcommands_is_not_cut_off() -> None:
    for group in ("token", "sandbox", "keys"):
        assert "...\n" not in CliRunner().invoke(podpass, [group, "--help"]).output.partition("Commands:")[2]


def until_asleep(process: "subprocess.Popen[str]") -> None:
    """Wait until a process waits: a signal that comes just before that would not end the wait."""
    deadline = time.monotonic() + 60
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_mistyped_command_is_told_which_was_meant() -> None:
    assert "No such command 'plna'. Did you mean 'plan'?" in CliRunner().invoke(podpass, ["plna"]).output
    assert "No such command 'help'. Did you mean '--help'?" in CliRunner().invoke(podpass, ["help"]).output
    assert "Did you mean" not in CliRunner().invoke(podpass, ["xyzzy"]).output


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    done = run("init", "--project", "demo-project", "-o", "nowhere/podpass.yaml", folder=tmp_path, KUBECONFIG="kubeconfig")
    assert done.stderr == (
        "Error: nowhere/podpass.yaml cannot be used. [config.file]\nNo such file or directory.\n"
        "Next: Check its name, and that its folder is there.\n"
    )
    assert done.returncode == 2


def test_a_project_that_cannot_be_one_is_told_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    done = run("init", "--project", "123456789012", folder=tmp_path, KUBECONFIG="kubeconfig")
    assert "Error: '123456789012' is a project's number." in done.stderr
    assert not (tmp_path / "podpass.yaml").exists()


def test_a_federation_file_given_as_a_plan_is_told_its_option(tmp_path: Path) -> None:
    done = run("apply", "podpass.yaml", folder=tmp_path)
    assert "name it with -f podpass.yaml." in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "shop.yaml"], "A federation file is named with -f: -f shop.yaml."),
        (["keys", "sync", "-v"], "-v stands before the command: podpass -v keys sync."),
        (["plan", "-o", "json"], "--json prints JSON."),
        (["doctor", "-f", "-"], "a federation file is not read from stdin"),
        (["init", "-o", "-"], "The federation file is not written to stdout"),
    ],
)
def test_what_many_type_is_told_how_it_is_typed_here(typed: Type, arguments: list[str], said: str) -> None:
    ended = typed(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.split())


def test_libraries_do_not_speak_before_the_error(tmp_path: Path) -> None:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG)
    done = run("init", folder=tmp_path, KUBECONFIG="kubeconfig", NO_GCE_CHECK="true", CLOUDSDK_CONFIG=str(tmp_path))
    assert done.stderr.startswith("Error: There are no Google credentials here.")


@pytest.mark.parametrize("arguments", [("--no-color",), ()])
def test_no_colour_is_no_colour_on_a_terminal_too(arguments: tuple[str, ...]) -> None:
    environment = {} if arguments else {"NO_COLOR": "1"}
    shown = on_a_terminal(PROGRAM, *arguments, "plan", "-f", "nowhere.yaml", **environment)
    assert "Error: nowhere.yaml cannot be read." in shown
    assert "\x1b" not in shown


def test_errors_are_wrapped_on_a_terminal_and_their_commands_stay_whole() -> None:
    shown = on_a_terminal(PROGRAM, "--no-color", "plan", "-f", "x" * 40 + ".yaml", COLUMNS="60")
    assert [line for line in shown.splitlines() if len(line) > 60] == []
    assert "`podpass init`" in shown


def test_a_terminal_sees_that_both_sides_are_being_read() -> None:
    program = "import time\nfrom podpass.cli.plan_view import reading\nwith reading(): time.sleep(0.3)\nprint('done')"
    assert "Reading the cluster and Google" in on_a_terminal(sys.executable, "-c", program)
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_sandbox_that_is_told_to_end_tells_its_command_and_leaves_nothing(number: signal.Signals, tmp_path: Path) -> None:
    command = [PROGRAM, "sandbox", "exec", "--", "sh", "-c", "echo up; exec sleep 60"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)})
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_is_told_to_end_says_so_and_no_more(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "podpass.yaml")  # reading it waits for ever
    process = subprocess.Popen([PROGRAM, "plan"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    writer = met_by_a_reader(tmp_path / "podpass.yaml")
    until_asleep(process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    os.close(writer)
    assert said.strip() == "Interrupted."
    assert process.returncode == 1


def test_options_of_the_sandbox_are_not_taken_for_its_command() -> None:
    answer = CliRunner().invoke(podpass, ["sandbox", "exec", "--state", "x", "--", "true"])
    assert re.search(r"No such option '?--state'?", answer.output)


def test_the_sandbox_s_project_is_one_that_google_would_have() -> None:
    answer = CliRunner().invoke(podpass, ["sandbox", "exec", "--project", "X", "--", "true"])
    assert "cannot be the id of a Google project" in str(answer.exception)


def test_a_plan_file_behind_a_bare_adopt_is_no_address(tmp_path: Path) -> None:
    kept = tmp_path / "plan.json"
    kept.touch()
    assert _apart(None, (str(kept),)) == (kept, ("*",))
    assert _apart(kept, ("pool/shop", "*")) == (kept, ("pool/shop", "*"))
    with pytest.raises(click.UsageError, match="'pol/shop' is none"):
        _apart(None, ("pol/shop",))


@pytest.mark.parametrize(("missing", "arguments"), [("click", ["--version"]), ("uvicorn", ["sandbox", "exec", "--", "true"])])
def test_a_command_of_an_extra_that_is_not_installed_says_so(missing: str, arguments: list[str]) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from podpass.cli import main; main({arguments!r})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: This command needs the package {missing}, which is not installed. [config.extra]\n")
    assert "podpass[all]" in done.stderr
