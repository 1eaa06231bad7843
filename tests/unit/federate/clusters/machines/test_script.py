# SPDX-License-Identifier: Apache-2.0
"""A script does all of it or nothing, foreign words stay words, and only what it printed itself counts."""

import base64
import subprocess
from pathlib import Path

import pytest

from podpass.federate.clusters.machines.script import Answer, compose, file_of, is_machine, parse

HOSTILE = ["$(touch pwned)", "`touch pwned`", "'; touch pwned; '", "PODPASS\ntouch pwned\n", "a\\\nb", "%s%n", "\x1b[31m", "é\n\n"]


def run(script: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["sh"], input=script.encode(), cwd=folder, capture_output=True, check=False)


@pytest.mark.parametrize("content", HOSTILE)
def test_a_text_gets_there_as_it_is_and_comes_back(content: str, tmp_path: Path) -> None:
    script = compose(file_of(content, "there"), "give back there")
    answer = parse(run(script.text, tmp_path).stdout, script.mark)
    assert answer == Answer({"back": content.encode()})
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_script_that_arrives_in_part_does_nothing(tmp_path: Path) -> None:
    text = compose(file_of("whole", "there"), "touch also").text
    for end in range(0, text.rindex("podpass"), 11):
        run(text[:end], tmp_path)
        assert list(tmp_path.iterdir()) == [], text[:end][-40:]
    run(text, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"there", "also"}


def test_a_file_that_is_not_what_was_sent_is_refused(tmp_path: Path) -> None:
    script = compose(
        file_of("whole", "there").replace(base64.b64encode(b"whole").decode(), base64.b64encode(b"who").decode()), "touch after"
    )
    assert parse(run(script.text, tmp_path).stdout, script.mark) == Answer(refused="not-written")
    assert not (tmp_path / "after").exists()


def test_a_failing_command_ends_it(tmp_path: Path) -> None:
    script = compose("false", "touch after")
    done = run(script.text, tmp_path)
    assert (done.returncode, parse(done.stdout, script.mark), list(tmp_path.iterdir())) == (1, None, [])


def test_a_large_file_is_not_taken(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes((1 << 20) + 1))
    script = compose("give large large")
    assert parse(run(script.text, tmp_path).stdout, script.mark) == Answer(refused="too-large")


@pytest.mark.parametrize("word", ["' || touch pwned #", "$(touch pwned)", "a\ntouch pwned"])
def test_a_machine_is_told_by_its_ids(word: str, tmp_path: Path) -> None:
    mine = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    right, wrong = compose(is_machine("", mine), "touch done"), compose(is_machine("", word), "touch never")
    assert parse(run(right.text, tmp_path).stdout, right.mark) == Answer()
    assert parse(run(wrong.text, tmp_path).stdout, wrong.mark) == Answer(refused="other-machine")
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


@pytest.mark.parametrize(
    ("output", "wanted"),
    [
        (b"Welcome!\nm a YQ==\nm end\n", Answer({"a": b"a"})),
        (b"m a YQ==\n", None),
        (b"m a YQ", None),
        (b"other a YQ==\nm end\n", Answer()),
        (b"m a !!!\nm end\n", Answer({"a": b""})),
        (b"m refused changed\nm end\n", Answer(refused="changed")),
        (b"m a b c\nm end\n", None),
        (b"\xff\xfe\nm end\n", Answer()),
        (b"", None),
    ],
)
def test_only_its_own_lines_count_and_an_answer_has_an_end(output: bytes, wanted: Answer | None) -> None:
    assert parse(output, "m") == wanted


def test_each_run_has_a_mark_of_its_own() -> None:
    assert compose("").mark != compose("").mark
