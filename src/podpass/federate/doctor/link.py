# SPDX-License-Identifier: Apache-2.0
"""A link of the chain, and what is said about a broken one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from podpass.errors import PodpassError

_NOT_SEEN_HERE: Final = (
    "What can be seen from here is sound. Wait a minute, in case it has just been changed, and run `podpass doctor` again."
)


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain.

    Attributes:
        name: Which.
        state: `untried`: there is no harmless way to try it.
        detail: What was found.
        cure: What to do about a broken one.
    """

    name: str
    state: Literal["passed", "failed", "untried"]
    detail: str
    cure: str = ""


def until_broken(*steps: Callable[[], Link]) -> Iterator[Link]:
    """Yield one link after the other; ends after the first broken one."""
    for step in steps:
        link = step()
        yield link
        if link.state == "failed":
            return


def broken(name: str, error: PodpassError) -> Link:
    """Return the link that an error broke."""
    # Elsewhere the cure may be to ask doctor; here that would lead round in a circle.
    cure = _NOT_SEEN_HERE if "`podpass doctor`" in error.next_step else error.next_step
    return Link(name, "failed", f"{error.what} {error.why}".strip(), cure)
