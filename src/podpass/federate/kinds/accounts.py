# SPDX-License-Identifier: Apache-2.0
"""Google service accounts: their email can be used again, their unique id cannot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from podpass.federate.kinds.handler import appeared
from podpass.federate.model.change import Action, Change
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import ABSENT, JSON, Observed, Resource
from podpass.google import iam
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.rest import GoogleClient
from podpass.names import GoogleServiceAccount


@dataclass(frozen=True, slots=True)
class Accounts:
    """The service accounts of one project."""

    client: GoogleClient
    mark: Mark

    def read(self, identity: Mapping[str, JSON]) -> Observed:
        """Return an account; a deleted one counts as absent, since its email can be used again."""
        return _seen(iam.get_service_account(self.client, GoogleServiceAccount(str(identity["email"]))))

    def read_all(self, project: str, identities: Sequence[Mapping[str, JSON]]) -> list[Observed]:
        """Do as `read` for many of one project, with one list where the operator may list."""
        try:
            found = {str(one["email"]): one for one in iam.list_service_accounts(self.client, project)}
        except GoogleRefusedError as error:
            if error.kind is not FaultKind.PERMISSION_DENIED:
                raise
            return [self.read(identity) for identity in identities]
        return [_seen(found.get(str(identity["email"]))) for identity in identities]

    def make(self, change: Change, resource: Resource) -> str | None:
        """Create an account; return its unique id."""
        if change.action is not Action.CREATE:
            return None
        account = GoogleServiceAccount(str(change.identity["email"]))
        project = str(change.identity["project"])
        try:
            made = iam.create_service_account(self.client, project, account.account_id, dict(resource.at_birth))
        except GoogleRefusedError as error:
            if error.kind is not FaultKind.ALREADY_EXISTS:
                raise
            found = self.read(change.identity)
            if not self.mark.signed(found.mark):
                raise appeared(change, error) from error
            return found.uid
        return str(made["uniqueId"])

    def take_away(self, change: Change) -> None:
        """Delete an account."""
        iam.delete_service_account(self.client, GoogleServiceAccount(str(change.identity["email"])))


def _seen(found: Mapping[str, JSON] | None) -> Observed:
    return Observed("present", {}, Mark.in_description(found.get("description")), uid=str(found["uniqueId"])) if found else ABSENT
