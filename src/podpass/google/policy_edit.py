# SPDX-License-Identifier: Apache-2.0
"""Edits of a live IAM policy: read with its etag, change, write; again from the start when somebody else wrote meanwhile.

The etag is what keeps foreign bindings safe: without it the last writer wins. A resource without one is not written.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Protocol, TypeAlias

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.google.backoff import SETTLING, Pacing, until_settled
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.policy import Policy

Edit: TypeAlias = Callable[[Policy], Policy]

# The conflict's own bound: five people at once are far within it.
_CONFLICTS_WITHIN = timedelta(seconds=60)
# 409 of IAM and Resource Manager [M], 412 of Cloud Storage [K].
_CONFLICT_CODES = frozenset({409, 412})


class PolicyHolder(Protocol):
    """A resource with an IAM policy; `str` names it for people."""

    def read_policy(self) -> Policy:
        """Return the policy at version 3, so that conditions are in it."""
        ...

    def write_policy(self, policy: Policy) -> Policy:
        """Write the whole policy, under its etag, and return it as written."""
        ...


@dataclass(frozen=True, slots=True)
class EditedPolicy:
    """What an edit did.

    Attributes:
        policy: As it is now.
        was_written: False: it was so already.
    """

    policy: Policy
    was_written: bool


def edit_policy(holder: PolicyHolder, edit: Edit, *, just_created: bool = False, pacing: Pacing | None = None) -> EditedPolicy:
    """Change a live policy by a pure edit, and nothing else in it.

    Repeats the whole cycle after a 409, and after a write without an answer (the next reading shows whether it was done). With
    `just_created`, also while Google does not know the resource or the member yet (400 "does not exist", 403, 404).

    Args:
        holder: Whose policy.
        edit: Pure; called once for each cycle. Returning its argument means: nothing to do.
        just_created: The resource, or a member that the edit adds, was made moments ago; then waits up to `SETTLING` (120 s) for it.
        pacing: The pauses; None: at most 60 s for conflicts.

    Raises:
        GoogleRefusedError: A refusal that waiting does not cure, or that outlasted the bound.
        NeighbourError: As of every call.
    """
    pacing = pacing or Pacing(within=_CONFLICTS_WITHIN)

    def once() -> EditedPolicy:
        return _until_no_conflict(holder, edit, pacing)

    if not just_created:
        return once()
    return until_settled(once, is_settling, replace(pacing, within=SETTLING))


def _until_no_conflict(holder: PolicyHolder, edit: Edit, pacing: Pacing) -> EditedPolicy:
    attempts = pacing.start()
    while True:
        before = holder.read_policy()
        after = edit(before)
        if after is before or after == before:
            return EditedPolicy(before, was_written=False)
        if not before.get("etag"):
            raise UnexpectedAnswerError(
                f"The IAM policy of {holder} came without an etag.",
                "Without it a write could undo somebody else's.",
                "Nothing was written.",
            )
        try:
            return EditedPolicy(holder.write_policy(after), was_written=True)
        except (GoogleRefusedError, UnreachableError) as error:
            if not _is_conflict(error) or not attempts.pause():
                raise


def _is_conflict(error: GoogleRefusedError | UnreachableError) -> bool:
    return isinstance(error, UnreachableError) or error.fault.code in _CONFLICT_CODES


def is_settling(error: Exception) -> bool:
    """Say whether a refusal is what Google answers for a while about a thing that was just made.

    Measured: 400 with "does not exist" (a binding to a new account), 403 and 404 (the new thing itself). [M]
    """
    if not isinstance(error, GoogleRefusedError):
        return False
    if error.kind is FaultKind.INVALID:
        return "does not exist" in error.fault.message
    return error.kind in {FaultKind.PERMISSION_DENIED, FaultKind.NOT_FOUND}
