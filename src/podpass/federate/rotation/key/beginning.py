# SPDX-License-Identifier: Apache-2.0
"""Whether the rotation of a key can begin, and what it begins with. Every reason against it is here; nothing was changed yet."""

from collections.abc import Callable
from datetime import timedelta

from podpass.errors import PlanError
from podpass.federate.rotation.gates import answered
from podpass.federate.rotation.key.rotation import Rotation
from podpass.federate.rotation.servers import ControlPlane


def begin(plane: ControlPlane, known_kids: Callable[[], frozenset[str]], longest: timedelta) -> Rotation:
    """Return the rotation of the keys that the cluster has now.

    Args:
        plane: The API servers.
        known_kids: Returns the ids of the keys that Google has; asked where the servers are fit.
        longest: How long a token lives at most.

    Raises:
        PlanError: An API server is silent, they do not agree, or Google lacks a key.
    """
    if plane.silent:
        raise PlanError(
            "Nothing was changed: not every API server answers.",
            " ".join(answered(plane)),
            "Bring it back first: it may have keys of its own.",
            code="plan.rotation",
        )
    signers = {server.signer for server in plane.servers}
    if len(signers) != 1 or len({server.kids for server in plane.servers}) != 1:
        raise PlanError(
            "Nothing was changed: the API servers do not agree on their keys.",
            "; ".join(f"{server.name} signs with {server.signer[:12]}… and serves {len(server.kids)}" for server in plane.servers) + ".",
            "Bring them in line first: tokens of one are refused by another.",
            code="plan.rotation",
        )
    missing = plane.kids - known_kids()
    if missing:
        raise PlanError(
            "Nothing was changed: Google does not have all of the cluster's keys now.",
            f"It lacks {', '.join(sorted(kid[:12] for kid in missing))}….",
            "Run `podpass keys sync` first.",
            code="plan.rotation",
        )
    return Rotation.begin(plane.kids, signers.pop(), longest)
