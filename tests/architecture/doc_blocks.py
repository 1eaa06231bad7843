# SPDX-License-Identifier: Apache-2.0
"""The fenced blocks of the documents, so that tests can run them."""

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"(?:<!-- file: (?P<name>\S+) -->\n)?```(?P<language>\w+)[^\n]*\n(?P<text>.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block; `name` is the file that a reader is told to write it to."""

    language: str
    text: str
    name: str | None

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """The commands of a console block, each with the lines that its output is shown to hold."""
        found: list[tuple[str, list[str]]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:].partition("   #")[0].rstrip(), []))
            elif line.strip() and found:
                found[-1][1].append(line.rstrip())
        return found


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    return [Block(found["language"], found["text"], found["name"]) for found in _BLOCK.finditer(path.read_text())]
