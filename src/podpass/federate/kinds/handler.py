# SPDX-License-Identifier: Apache-2.0
"""What is asked of a kind."""

from collections.abc import Mapping
from typing import Protocol

from podpass.errors import NeighbourError, UnsafePlanError
from podpass.federate.model.change import Change
from podpass.federate.model.resource import JSON, Observed, Resource


class Handler(Protocol):
    """Reads, makes and takes away the things of one kind."""

    def read(self, identity: Mapping[str, JSON]) -> Observed:
        """Return the thing as it is now."""
        ...

    def make(self, change: Change, resource: Resource) -> str | None:
        """Make a change true (create, undelete, adopt, update); return the thing's uid where its kind has one."""
        ...

    def take_away(self, change: Change) -> None:
        """Delete it; fine if it is gone already."""
        ...


def appeared(change: Change, error: NeighbourError) -> UnsafePlanError:
    """Return the error for a thing that somebody else made between the plan and the act."""
    return UnsafePlanError(
        f"{change.address} appeared while the plan was applied.",
        f"It was not there when the plan was made, and it does not bear this federation's mark. {error.what}",
        "Make the plan again: it says whose it seems to be.",
        code="plan.appeared",
    )
