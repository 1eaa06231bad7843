# SPDX-License-Identifier: Apache-2.0
"""A node is reached by fixed words; what the cluster says becomes one of them, and only if it is a name or an address."""

from pathlib import Path

import pytest

from podpass.errors import ConfigError, UnexpectedAnswerError, UnreachableError, UnsafePlanError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.machines.shell import CommandShell, command_for

BOOT_ID = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
NODE = Node("cp-1", addresses=("10.0.0.1",), boot_id=BOOT_ID)
SSH = ("ssh", "root@{node}", "sudo", "-n", "sh")


def shell(folder: Path, body: str) -> CommandShell:
    """Write a program that keeps what it was called with."""
    path = folder / "reach"
    path.write_text(f'#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done > {folder}/told\n{body}\n')
    path.chmod(0o700)
    return CommandShell((str(path), "{node}", "sudo", "-n", "sh"))


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (SSH, ("ssh", "root@cp-1", "sudo", "-n", "sh")),
        (("docker", "exec", "--interactive", "{node}", "sh"), ("docker", "exec", "--interactive", "cp-1", "sh")),
        (("ssh", "{address}", "sh"), ("ssh", "10.0.0.1", "sh")),
    ],
)
def test_the_words_of_the_file_reach_the_node(words: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    assert command_for(NODE, words) == wanted


@pytest.mark.parametrize(
    "name", ["-oProxyCommand=touch pwned", "a b", "a;b", "$(id)", "a\nb", "../x", "A", "", "a" * 254, "a/b", "{address}", "cp-1\n", "é"]
)
def test_a_name_that_is_none_never_becomes_a_word(name: str) -> None:
    with pytest.raises(ConfigError, match="is no name of a node"):
        command_for(Node(name, addresses=("10.0.0.1",)), SSH)


@pytest.mark.parametrize("addresses", [(), ("evil.example/x",), ("-oProxyCommand=x",), ("10.0.0.1;id",), ("fe80::1%$(id)",)])
def test_an_address_that_is_none_never_becomes_a_word(addresses: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="has no address"):
        command_for(Node("cp-1", addresses=addresses), ("ssh", "{address}", "sh"))


def test_a_script_runs_over_stdin_and_what_it_gives_comes_back(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("content")
    answer = shell(tmp_path, "echo Welcome; exec sh").run(NODE, f"give it {tmp_path}/file")
    assert answer.files == {"it": b"content"}
    assert (tmp_path / "told").read_text().splitlines() == ["cp-1", "sudo", "-n", "sh"]


def test_a_machine_that_is_not_the_node_gets_nothing_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not reach cp-1") as refusal:
        shell(tmp_path, "exec sh").run(Node("cp-1", boot_id="another"), f"touch {tmp_path}/pwned")
    assert refusal.value.why == "It is another machine than the node: its machine id or its boot id is another."
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("machine_id", ["", "0" * 32])
def test_a_node_that_does_not_say_which_machine_it_is_is_not_reached(tmp_path: Path, machine_id: str) -> None:
    with pytest.raises(ConfigError, match="does not say which machine it is"):
        shell(tmp_path, "exec sh").run(Node("cp-1", machine_id=machine_id), "true")
    assert not (tmp_path / "told").exists()


def test_a_refusal_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnsafePlanError) as refusal:
        shell(tmp_path, "exec sh").run(NODE, "refuse mine", refusals={"mine": ("It has none.", "Make one.")})
    assert str(refusal.value) == "Nothing was changed on cp-1. It has none. Make one."


def test_a_node_out_of_reach_is_told_in_the_words_of_who_tried_without_what_a_terminal_obeys(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="sudo -n sh` failed") as refusal:
        shell(tmp_path, "printf 'No route \\033]0;pwned\\007to host' >&2; exit 255").run(NODE, "true")
    assert refusal.value.why == "No route \N{REPLACEMENT CHARACTER}]0;pwned\N{REPLACEMENT CHARACTER}to host"


@pytest.mark.parametrize("body", ["cat > /dev/null", "head -c 600 | sh", "echo end"])
def test_an_answer_without_its_end_is_none(body: str, tmp_path: Path) -> None:
    with pytest.raises((UnexpectedAnswerError, UnreachableError)):
        shell(tmp_path, body).run(NODE, f"touch {tmp_path}/pwned")
    assert not (tmp_path / "pwned").exists()


def test_a_command_that_is_not_there_is_called_so() -> None:
    with pytest.raises(ConfigError, match="There is no no-such-ssh"):
        CommandShell(("no-such-ssh", "{node}", "sh")).run(NODE, "true")
