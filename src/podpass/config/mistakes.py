# SPDX-License-Identifier: Apache-2.0
"""Mistakes in a file, collected and printed as a compiler prints them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

from podpass.errors import ConfigError

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing to correct.

    Attributes:
        line: From 1.
        column: From 1, in characters.
        path: Which value: `spec.workloads[0].token.expiration`; empty for the file as a whole.
        message: What is wrong, with the value that was read.
        hint: What to write instead. May be empty.
        code: Stable, for searching: `config.unknown-key`.
    """

    line: int
    column: int
    path: str
    message: str
    hint: str
    code: str

    def render(self, file: Path) -> str:
        """Return `FILE:LINE:COLUMN: PATH: message hint [code]` on one line."""
        place = f"{file}:{self.line}:{self.column}:"
        path = f"{self.path}:" if self.path else ""
        return " ".join(part for part in (place, path, self.message, self.hint, f"[{self.code}]") if part)


# Who has more has named another file, whose contents nobody wants on a screen.
_SHOWN: Final = 40


class FileMistakesError(ConfigError):
    """A file is wrong; `mistakes` holds everything that was found, in the order of the file."""

    code = "config.file"
    next_step_for_all: ClassVar[str] = "Correct what is listed."

    def __init__(self, file: Path, mistakes: Iterable[Mistake]) -> None:
        self.file = file
        self.mistakes = tuple(sorted(mistakes, key=lambda mistake: (mistake.line, mistake.column)))
        count = "one mistake" if len(self.mistakes) == 1 else f"{len(self.mistakes)} mistakes"
        lines = [mistake.render(file) for mistake in self.mistakes[:_SHOWN]]
        if len(self.mistakes) > _SHOWN:
            lines.append(f"… and {len(self.mistakes) - _SHOWN} more.")
        super().__init__(f"{file} has {count}.", "\n".join(lines), self.next_step_for_all)


class FederationFileError(FileMistakesError):
    """A federation file is wrong."""

    code = "config.federation-file"
    next_step_for_all = "Correct what is listed; nothing was changed."


class Report:
    """Collects mistakes and positions while a document is read.

    Args:
        homes: For each known key, the mapping that it belongs in: a key in the wrong place is told its right one.
    """

    def __init__(self, homes: Mapping[str, str] | None = None) -> None:
        self.homes = homes or {}
        self.mistakes: list[Mistake] = []
        self.positions: dict[str, Position] = {}

    def add(self, position: Position, path: str, message: str, hint: str = "", *, code: str) -> None:
        """Note a mistake; a second one with the same words at the same place is not noted again."""
        mistake = Mistake(*position, path, message, hint, code)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)

    def at(self, path: str, message: str, hint: str = "", *, code: str) -> None:
        """Note a mistake at the value that `path` names, or at the nearest value above it."""
        at = path
        while at and at not in self.positions:
            at = parent(at)
        self.add(self.positions.get(at, (1, 1)), path, message, hint, code=code)

    def is_sound(self, *paths: str) -> bool:
        """Say whether nothing is wrong yet with these values or anything in them; who judges two fields together asks this first."""
        return not any(_covers(path, mistake.path) for path in paths for mistake in self.mistakes)


def _covers(path: str, other: str) -> bool:
    return other == path or other.startswith((f"{path}.", f"{path}["))


def parent(path: str) -> str:
    """Return the path of the value that holds this one: `a.b[0]` -> `a.b` -> `a` -> ``."""
    return path[: max(path.rfind("."), path.rfind("["), 0)]
