# SPDX-License-Identifier: Apache-2.0
"""What any walk asks of the API servers before its next step. Pure.

A gate returns what does not hold yet, in sentences; nothing means that it is open.
"""

from collections.abc import Collection

from podpass.federate.rotation.servers import ControlPlane


def answered(plane: ControlPlane) -> list[str]:
    """Every server answers."""
    return [f"No answer: {reason}" for reason in plane.silent]


def listed(known: Collection[str], plane: ControlPlane) -> list[str]:
    """No server that was met before has left the cluster's list: one that is down leaves it within seconds, and is not asked."""
    return [
        f"{name} is not among the cluster's API servers now, and was before: it is down, or gone. Bring it back; "
        f"if it was removed for good, resume with --removed-server {name}."
        for name in sorted(set(known) - plane.listed)
    ]
