# SPDX-License-Identifier: Apache-2.0
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from podpass.cli.root import COMMANDS
from podpass.errors import ConfigError, PodpassError

Type = Callable[..., Any]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_help_lists_has_help_that_begins_alike(typed: Type, name: str) -> None:
    listed = typed("--help")
    assert (listed.code, listed.err) == (0, "")
    assert f"  {name} " in listed.out
    own = typed(name, "--help")
    assert own.code == 0
    assert f"Usage: podpass {name}" in own.out


def test_a_command_that_is_not_there_is_wrong_usage(typed: Type) -> None:
    ended = typed("aply")
    assert ended.code == 2
    assert "No such command 'aply'" in ended.err


def raising(error: BaseException) -> Callable[..., None]:
    def fail(**_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (ConfigError("W.", "Y.", "N.", code="config.x"), 2, "Error: W. [config.x]\nY.\nNext: N.\n"),
        (PodpassError("W."), 1, "Error: W. [podpass]\n"),
        (KeyboardInterrupt(), 1, "Interrupted.\n"),
    ],
    ids=["config", "other", "ctrl-c"],
)
def test_what_goes_wrong_becomes_sentences_and_an_exit_code(
    typed: Type, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    from podpass.cli import plan  # noqa: PLC0415 - commands are imported when they are asked for

    monkeypatch.setattr(plan.command, "callback", raising(error))
    ended = typed("plan")
    assert (ended.code, ended.out, ended.err.lstrip("\n")) == (code, "", told)


def test_a_federation_file_that_is_not_there_is_told_with_its_cure(typed: Type, tmp_path: Path) -> None:
    ended = typed("plan", "-f", str(tmp_path / "podpass.yaml"))
    assert ended.code == 2
    assert "podpass.yaml cannot be read. [config.unreadable]" in ended.err
    assert "Next: Run `podpass init` to write one, or name it with -f." in ended.err


def test_a_state_without_a_sandbox_is_told_with_its_cure(typed: Type, tmp_path: Path) -> None:
    ended = typed("sandbox", "env", "--state", str(tmp_path))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"No sandbox runs in {tmp_path}: start one with `podpass sandbox run --state {tmp_path}`.\n"


def test_log_lines_can_be_had_as_json(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    typed("--verbose", "--log-format", "json", "token", "inspect", stdin="x")
    logging.getLogger("podpass.x").error("said", exc_info=ValueError("why"))
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("error", "podpass.x", "said")
    assert "ValueError: why" in line["exception"]


def test_other_libraries_are_not_heard_below_warnings(typed: Type, capsys: pytest.CaptureFixture[str]) -> None:
    typed("--verbose", "token", "inspect", stdin="x")
    logging.getLogger("httpx2").info("authorization: …")
    logging.getLogger("podpass.google").debug("GET iam")
    assert capsys.readouterr().err == "DEBUG podpass.google: GET iam\n"
