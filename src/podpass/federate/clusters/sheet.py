# SPDX-License-Identifier: Apache-2.0
"""What somebody does to a control plane: files and commands, in order, and what has to hold after each. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class File:
    """A file that the commands use.

    Attributes:
        path: Relative to the folder of the sheet.
        content: Its text.
    """

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Attributes:
        title: What it is, in a few words.
        purpose: What it is for.
        commands: What to type, in the folder of the sheet.
        files: What the commands use.
        gate: What has to hold before the next step.
    """

    title: str
    purpose: str
    commands: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    gate: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """All of it.

    Attributes:
        title: What is done to which cluster.
        notes: What has to be known before, limits first.
        steps: In order.
    """

    title: str
    notes: tuple[str, ...]
    steps: tuple[Step, ...]

    def files(self) -> Iterator[File]:
        """Yield every file, and the sheet itself."""
        for step in self.steps:
            yield from step.files
        yield File("STEPS.md", self.text(with_files=False))

    def text(self, *, with_files: bool = True) -> str:
        """Write it for people, in Markdown; with the files' contents where they are not written anywhere else."""
        lines = [f"# {self.title}", "", *(f"- {note}" for note in self.notes)]
        for number, step in enumerate(self.steps, 1):
            lines += ["", f"## {number}. {step.title}", "", step.purpose]
            for file in step.files if with_files else ():
                lines += ["", f"`{file.path}`:", "", f"```{file.path.rpartition('.')[2]}", file.content.rstrip("\n"), "```"]
            if step.commands:
                lines += ["", "```sh", *step.commands, "```"]
            if step.gate:
                lines += ["", f"Go on when {step.gate}."]
        return "\n".join(lines) + "\n"
