# SPDX-License-Identifier: Apache-2.0
"""Members of IAM policies: read, edited and written under the policy's etag, all members of one policy in one write."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from podpass.federate.model.change import Action, Change
from podpass.federate.model.resource import JSON
from podpass.google import policy as policies
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.iam import ServiceAccountPolicy
from podpass.google.policy import Policy
from podpass.google.policy_edit import PolicyHolder, edit_policy
from podpass.google.projects import ProjectPolicy
from podpass.google.rest import GoogleClient
from podpass.google.storage import BucketPolicy
from podpass.names import GoogleServiceAccount

# google-behaviour: policies [M]. Should it be otherwise, the etag is refused and the policy read.
_OF_A_NEW_ACCOUNT: Final[Policy] = {"etag": "ACAB"}


def holder_of(client: GoogleClient, target: str) -> PolicyHolder:
    """Return the resource whose policy a target (`project/ID`, `account/EMAIL`, `bucket/NAME`) names."""
    kind, _, name = target.partition("/")
    if kind == "account":
        return ServiceAccountPolicy(client, GoogleServiceAccount(name))
    return BucketPolicy(client, name) if kind == "bucket" else ProjectPolicy(client, name)


def read(client: GoogleClient, target: str) -> Policy | None:
    """Return a policy; None where its resource is not there."""
    try:
        return holder_of(client, target).read_policy()
    except GoogleRefusedError as error:
        if error.kind is FaultKind.NOT_FOUND:
            return None
        raise


def has(policy: Policy | None, item: Mapping[str, JSON]) -> bool:
    """Whether a policy holds a member."""
    return policy is not None and policies.has_member(policy, item["role"], item["member"], item.get("condition"))


def write(
    client: GoogleClient, target: str, known: Policy | None, changes: Iterable[Change], former: Mapping[str, Iterable[Mapping[str, JSON]]]
) -> None:
    """Make several changes of one policy true, and take away elsewhere what they replace there.

    Args:
        client: Google.
        target: Whose policy.
        known: The policy as it was read a while ago; spares the reading, its etag makes that safe. None: it was not there, so it is read,
            or for an account taken for that of a new one.
        changes: The members that come, move and go.
        former: By address: what an unfinished move left behind, which goes too.
    """
    known_changes = tuple(changes)
    removals = [item for change in known_changes for item in _removed(change, former)]
    additions = [change.identity for change in known_changes if change.action is not Action.DELETE]
    # Another Google account's policy, where the file names another one now. It comes first: a run that ends in between adds the member, and
    # looks for the former one, when it is run again; the other way round nobody would.
    for elsewhere in sorted({str(item["target"]) for item in removals} - {target}):
        _edit(client, elsewhere, None, [item for item in removals if item["target"] == elsewhere], [])
    known = known or (_OF_A_NEW_ACCOUNT if target.startswith("account/") and additions else None)
    _edit(client, target, known, [item for item in removals if item["target"] == target], additions)


def _edit(
    client: GoogleClient,
    target: str,
    known: Policy | None,
    removals: Iterable[Mapping[str, JSON]],
    additions: Collection[Mapping[str, JSON]],
) -> None:
    """Take members out of one policy and put others in, in one write."""

    def edit(policy: Policy) -> Policy:
        for item in removals:
            policy = policies.remove_member(policy, item["role"], item["member"], item.get("condition"))
        for item in additions:
            policy = policies.add_member(policy, item["role"], item["member"], item.get("condition"))
        return policy

    holder = holder_of(client, target)
    try:
        edit_policy(_ReadBefore(holder, known) if known else holder, edit)
    except GoogleRefusedError as error:
        if additions or error.kind is not FaultKind.NOT_FOUND:
            raise  # with nothing to add, a policy that is gone is as wanted


def _removed(change: Change, former: Mapping[str, Iterable[Mapping[str, JSON]]]) -> list[Mapping[str, JSON]]:
    now = [change.identity] if change.action is Action.DELETE else [change.before] if change.action is Action.UPDATE else []
    return [*now, *former.get(change.address, ())]


@dataclass(slots=True)
class _ReadBefore:
    """A policy holder whose first reading was done when the plan was made."""

    holder: PolicyHolder
    known: Policy | None

    def __str__(self) -> str:
        return str(self.holder)

    def read_policy(self) -> Policy:
        """Return the known policy once, then the live one."""
        known, self.known = self.known, None
        return self.holder.read_policy() if known is None else known

    def write_policy(self, policy: Policy) -> Policy:
        """Write under the etag."""
        return self.holder.write_policy(policy)
