# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.cli.wrapping import width, wrap


def test_lines_fit_and_are_indented_below_what_stands_before_the_first() -> None:
    lines = wrap("word " * 30, first=10, rest=4, columns=40).splitlines()
    assert len(lines[0]) <= 40 - 10
    assert all(line.startswith("    word") and len(line) <= 40 for line in lines[1:])


def test_a_command_stays_in_one_piece() -> None:
    command = "`kubectl -n default create serviceaccount checkout`"
    assert command in wrap(f"The account is not there yet, and nobody makes it for you. Run {command}.", columns=60).splitlines()[-1]


def test_a_word_longer_than_the_line_is_not_torn() -> None:
    address = "projects/415104041262/locations/global/workloadIdentityPools/pool/providers/cluster"
    assert address in wrap(f"The provider is {address}.", columns=40)


def test_the_width_is_the_terminal_s_and_at_most_80(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert width() == 60
    monkeypatch.setenv("COLUMNS", "200")
    assert width() == 80
