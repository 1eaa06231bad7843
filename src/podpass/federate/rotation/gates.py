# SPDX-License-Identifier: Apache-2.0
"""What any walk asks of the API servers before its next step. Pure.

A gate returns what does not hold yet, in sentences; nothing means that it is open.
"""

from collections.abc import Collection
from typing import Final

from podpass.federate.rotation.servers import ControlPlane

_SHOWN: Final = 5


def answered(plane: ControlPlane) -> list[str]:
    """Every server answers."""
    named = [f"No answer: {reason}" for reason in plane.silent[:_SHOWN]]
    more = len(plane.silent) - len(named)
    return [*named, f"No answer from {more} more of the API servers that the cluster lists."] if more else named


def listed(known: Collection[str], plane: ControlPlane) -> list[str]:
    """No server that was met before has left the cluster's list: one that is down leaves it within seconds, and is not asked."""
    return [
        f"{name} is not among the cluster's API servers now, and was before: it is down, or gone. Bring it back; "
        f"if it was removed for good, resume with --removed-server {name}."
        for name in sorted(set(known) - plane.listed)
    ]
