# SPDX-License-Identifier: Apache-2.0
"""Workload identity pools and their providers: soft deletion, updates by mask, and the pool as a gate."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from podpass.federate.kinds.handler import appeared
from podpass.federate.model.change import Action, Change
from podpass.federate.model.differences import differences
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import ABSENT, JSON, Kind, Observed, Resource
from podpass.google import iam
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.rest import GoogleClient
from podpass.names import PoolName, ProviderName

Name = PoolName | ProviderName
# Besides ALREADY_EXISTS: what Google answers to an act on a thing that is in that state already. [?]
_DONE_ALREADY = {FaultKind.FAILED_PRECONDITION, FaultKind.INVALID, FaultKind.ALREADY_EXISTS}


@dataclass(frozen=True, slots=True)
class Pools:
    """Pools and providers of one project."""

    client: GoogleClient
    mark: Mark

    def read(self, identity: Mapping[str, JSON]) -> Observed:
        """Return a pool or a provider, a deleted one included."""
        name = name_of(identity)
        found = iam.get_provider(self.client, name) if isinstance(name, ProviderName) else iam.get_pool(self.client, name)
        if found is None:
            return ABSENT
        status = "deleted" if found.get("state") == "DELETED" else "present"
        return Observed("deleted" if status == "deleted" else "present", _flat(found), Mark.in_description(found.get("description")))

    def make(self, change: Change, resource: Resource) -> None:
        """Create, undelete or correct it. A pool that is to be opened stays closed here: `open` comes when its provider is right."""
        name = name_of(change.identity)
        if change.action is Action.CREATE:
            self._create(change, resource, name)
            return
        fields = {field.name: field.after for field in change.fields}
        if change.action is Action.UNDELETE:
            self._unless(name, "present", lambda: self._undelete(name))
        if change.kind is Kind.POOL:
            fields.pop("disabled", None)
            if change.action is Action.UNDELETE:
                fields["disabled"] = True
        if fields:
            self._update(name, fields)

    def take_away(self, change: Change) -> None:
        """Delete it, softly."""
        name = name_of(change.identity)
        self._unless(name, "deleted", lambda: self._delete(name))

    def providers(self, identity: Mapping[str, JSON]) -> frozenset[str]:
        """Return the ids of a pool's providers, without the deleted ones."""
        pool = PoolName(str(identity["project"]), str(identity["pool"]))
        return frozenset(str(one["name"]).rpartition("/")[2] for one in iam.list_providers(self.client, pool))

    def set_disabled(self, identity: Mapping[str, JSON], *, disabled: bool) -> None:
        """Close or open a pool: a disabled one stops every exchange, and the tokens that came of earlier ones."""
        self._update(name_of({"project": identity["project"], "pool": identity["pool"]}), {"disabled": disabled})

    def _create(self, change: Change, resource: Resource, name: Name) -> None:
        body = _nested(resource.body)
        try:
            if isinstance(name, ProviderName):
                iam.create_provider(self.client, name, body)
            else:
                iam.create_pool(self.client, name, body)
        except GoogleRefusedError as error:
            if error.kind is not FaultKind.ALREADY_EXISTS:
                raise
            found = self.read(change.identity)
            if found.status != "present" or not self.mark.signed(found.mark):
                raise appeared(change, error) from error
            # The answer to an earlier try was lost.
            fields = {field.name: field.after for field in differences(resource.body, found.body)}
            if fields:
                self._update(name, fields)

    def _unless(self, name: Name, status: str, act: Callable[[], None]) -> None:
        """Act, and accept a refusal where the thing turns out to be in the wanted state already."""
        try:
            act()
        except GoogleRefusedError as error:
            if error.kind not in _DONE_ALREADY or self.read(_identity(name)).status != status:
                raise

    def _update(self, name: Name, fields: Mapping[str, JSON]) -> None:
        if isinstance(name, ProviderName):
            iam.update_provider(self.client, name, _nested(fields), sorted(fields))
        else:
            iam.update_pool(self.client, name, _nested(fields), sorted(fields))

    def _undelete(self, name: Name) -> None:
        if isinstance(name, ProviderName):
            iam.undelete_provider(self.client, name)
        else:
            iam.undelete_pool(self.client, name)

    def _delete(self, name: Name) -> None:
        if isinstance(name, ProviderName):
            iam.delete_provider(self.client, name)
        else:
            iam.delete_pool(self.client, name)


def name_of(identity: Mapping[str, JSON]) -> Name:
    """Return the name of a pool's or provider's identity."""
    pool = PoolName(str(identity["project"]), str(identity["pool"]))
    return pool.provider(str(identity["provider"])) if "provider" in identity else pool


def _identity(name: Name) -> Mapping[str, JSON]:
    pool = name.pool if isinstance(name, ProviderName) else name
    identity = {"project": pool.project, "pool": pool.pool}
    return {**identity, "provider": name.provider} if isinstance(name, ProviderName) else identity


def _flat(found: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the fields by their update masks."""
    oidc = found.get("oidc") or {}
    kept: Iterable[str] = ("displayName", "description", "disabled", "attributeMapping", "attributeCondition")
    return {**{name: found[name] for name in kept if name in found}, **{f"oidc.{name}": value for name, value in oidc.items()}}


def _nested(fields: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return fields by update mask as a body. What is empty is left out: under a mask that clears it, and a new thing has nothing there."""
    body: dict[str, JSON] = {}
    for mask, value in fields.items():
        room, _, name = mask.rpartition(".")
        if value or isinstance(value, bool):
            (body.setdefault(room, {}) if room else body)[name] = value
    return body
