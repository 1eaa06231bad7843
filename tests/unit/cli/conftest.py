# SPDX-License-Identifier: Apache-2.0
"""The command as a person types it: arguments and standard input in, exit code and both outputs back."""

import io
import logging
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from podpass.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Type = Callable[..., Ended]


class _Terminal(io.TextIOWrapper):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Type]:
    """Type a command; logging is put back afterwards, since a command sets it up for its whole process."""
    root, own = logging.getLogger(), logging.getLogger("podpass")
    before = (root.handlers, root.level, own.level)

    def run(*arguments: str, stdin: str = "", terminal: bool = False) -> Ended:
        monkeypatch.setattr(sys, "stdin", (_Terminal if terminal else io.TextIOWrapper)(io.BytesIO(stdin.encode())))
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, *capsys.readouterr())

    yield run
    root.handlers, root.level, own.level = before
