# SPDX-License-Identifier: Apache-2.0
"""A story as it is told: steps with their outcome and duration, on stderr while they happen, as data at the end."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from podpass.errors import PodpassError


class StoryError(PodpassError):
    """The story did not go as it should have."""

    code = "demo.unexpected"


class NotHereError(StoryError):
    """The story needs what this machine does not have."""

    code = "demo.not-here"


@dataclass(slots=True)
class Step:
    """One step.

    Attributes:
        title: What is done.
        command: What a person would have typed for it; empty where there is no one command.
        lines: What came of it.
        seconds: How long it took.
    """

    title: str
    command: str = ""
    lines: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def say(self, *lines: str) -> None:
        """Add lines to the outcome."""
        self.lines.extend(lines)


@dataclass(slots=True)
class Story:
    """The steps so far, and what came of it all.

    Attributes:
        name: As `podpass demo` takes it.
        steps: In order.
        results: For programs, by name.
        summary: For people, line by line.
        faults: What was otherwise than it should be, and yet no reason to stop: half a sentence each.
    """

    name: str
    steps: list[Step] = field(default_factory=list)
    results: dict[str, Any] = field(default_factory=dict)
    summary: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, title: str, command: str = "") -> Iterator[Step]:
        """Tell one step: its title when it begins, its outcome when it ends."""
        step = Step(title, command)
        self.steps.append(step)
        print(f"\n{len(self.steps):2}. {title}", file=sys.stderr, flush=True)
        if command:
            print(f"    $ {command}", file=sys.stderr, flush=True)
        begun = monotonic()
        try:
            yield step
        finally:
            step.seconds = monotonic() - begun
            for line in step.lines:
                print(f"    {line}", file=sys.stderr)
            print(f"    ({step.seconds:.1f} s)", file=sys.stderr, flush=True)

    def conclude(self, heading: str, *lines: str) -> None:
        """Add to the summary: a heading, and what stands below it."""
        self.summary += [heading, *(f"  {line}" for line in lines)]

    def as_json(self) -> dict[str, Any]:
        """Return the story as the documented shape of `podpass demo --json`."""
        steps = [
            {"title": step.title, "command": step.command, "lines": step.lines, "seconds": round(step.seconds, 2)} for step in self.steps
        ]
        return {"name": self.name, "steps": steps, **self.results}


def expect(*, holds: bool, what: str) -> None:
    """Stop the story where it went wrong.

    Raises:
        StoryError: It does not hold.
    """
    if not holds:
        raise StoryError(f"The demo did not go as it should: {what}.", "", "Please report it, with everything that was printed.")
