# SPDX-License-Identifier: Apache-2.0
"""IAM policies of any resource: read and written as Google does (google-behaviour: policies), in effect a while later, then asked.

An etag is bytes: it is compared decoded, since clients write it back in another alphabet. A policy without bindings is empty, and has
the etag `ACAB`. A change is read back at once; until `settings.propagation` has passed, the former policy decides.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import msgspec

from podpass.clock import Clock
from podpass.errors import ConfigError
from podpass.names.principal import Principal
from podpass.sandbox.google.caller import Caller
from podpass.sandbox.google.conditions import check_condition, holds
from podpass.sandbox.google.message import Fault, invalid
from podpass.sandbox.google.resource import Resource, project_resource
from podpass.sandbox.google.roles import PERMISSIONS, is_of_another_service
from podpass.sandbox.store import ConflictError, Json, Store

_EMPTY_ETAG = "ACAB"  # google-behaviour: policies [M]
_CONDITIONAL_VERSION = 3
_STANDARD = str.maketrans("-_", "+/")
_BASIC = {"projectOwner": "roles/owner", "projectEditor": "roles/editor", "projectViewer": "roles/viewer"}
# A role can be granted where one of its permissions can matter [K]; on a project, any role.
_SUPPORTED = {
    "iam.googleapis.com/ServiceAccount": "iam.serviceAccounts.",
    "run.googleapis.com/Service": "run.",
    "storage.googleapis.com/Bucket": "storage.",
}
_GKE_POOL = re.compile(r"serviceAccount:(?P<pool>[^@\[\]]+\.svc\.id\.goog)\[[^\[\]]+\]")


class _Condition(msgspec.Struct, omit_defaults=True):
    title: str = ""
    description: str = ""
    expression: str = ""
    location: str = ""


class _Binding(msgspec.Struct, omit_defaults=True):
    role: str
    members: list[str] = []
    condition: _Condition | None = None


class Policies:
    """The policies of one universe.

    Args:
        store: Where they are kept.
        clock: The present moment.
        propagation: Returns how long a change takes to be in effect, as it is set now.
    """

    def __init__(self, store: Store, clock: Clock, propagation: Callable[[], timedelta]) -> None:
        self._store = store
        self._clock = clock
        self._propagation = propagation
        # resource name -> versions as (in effect from, bindings), oldest first; only while a change is under way
        self._under_way: dict[str, list[tuple[datetime, list[Json]]]] = {}

    def read(self, resource: Resource, version: int = 1) -> Json:
        """Return a resource's policy in the form of the requested version; below 3, conditions are folded into the role's name."""
        record = self._store.get("policy", resource.name)
        if record is None:
            return {"etag": _EMPTY_ETAG}
        bindings = record.value["bindings"]
        conditional = any("condition" in binding for binding in bindings)
        if version < _CONDITIONAL_VERSION:
            bindings = [_folded(binding) for binding in bindings]
        shown = _CONDITIONAL_VERSION if conditional and version >= _CONDITIONAL_VERSION else 1
        return {"version": shown, "etag": _etag(record.revision), "bindings": bindings}

    def write(self, resource: Resource, policy: Json) -> Json:
        """Set a resource's policy, refusing what Google refuses; return it as it is now.

        Raises:
            Fault: A role, member, condition or etag that cannot be.
            ConflictError: Somebody else has written since the etag was read.
        """
        bindings = _merged(_parsed(policy.get("bindings") or []))
        for binding in bindings:
            self._check(binding, _SUPPORTED.get(resource.type, ""))
        if any("condition" in binding for binding in bindings) and policy.get("version") != _CONDITIONAL_VERSION:
            # [?] the text; that such a write is refused [R]
            raise invalid("A policy with conditional role bindings must have its version set to 3.")
        record = self._store.get("policy", resource.name)
        etag = policy.get("etag")
        if etag and not _same_bytes(etag, _etag(record.revision) if record else _EMPTY_ETAG):
            raise ConflictError
        self._replace(resource.name, bindings)
        return self.read(resource, _CONDITIONAL_VERSION)

    def seed(self, resource: Resource, bindings: list[Json]) -> None:
        """Give a new resource its first policy, in effect at once."""
        self._store.put("policy", resource.name, {"bindings": _merged(bindings)})

    def forget(self, resource: Resource) -> None:
        """Drop the policy of a resource that is gone."""
        self._store.delete("policy", resource.name)
        self._under_way.pop(resource.name, None)

    def rename_member(self, before: str, after: str) -> None:
        """Replace a member in every policy: deleted accounts become `deleted:…`, restored ones themselves again.

        In effect at once, since a binding means the account and not its email: who gets that email next must not inherit anything.
        """

        def renamed(bindings: list[Json]) -> list[Json]:
            return [{**each, "members": [after if member == before else member for member in each["members"]]} for each in bindings]

        for record in self._store.select("policy"):
            if any(before in binding["members"] for binding in record.value["bindings"]):
                self._store.put("policy", record.key, {"bindings": renamed(record.value["bindings"])})
        for name, versions in self._under_way.items():
            self._under_way[name] = [(moment, renamed(bindings)) for moment, bindings in versions]

    def allows(self, caller: Caller, permission: str, resource: Resource) -> bool:
        """Tell whether the policies in effect grant a caller a permission on a resource or anything above it."""
        now = self._clock.now()
        for level in resource.lineage():
            for binding in (*level.grants, *self._in_effect(level.name, now)):
                if permission not in PERMISSIONS.get(binding["role"], ()) or not self._names(binding["members"], caller, now):
                    continue
                if "condition" not in binding or holds(binding["condition"]["expression"], resource, now):
                    return True
        return False

    def _names(self, members: Iterable[str], caller: Caller, now: datetime) -> bool:
        for member in members:
            kind, _, value = member.partition(":")
            if member in caller.members:
                return True
            if kind in _BASIC:
                owners = self._in_effect(project_resource(value).name, now)
                if any(each["role"] == _BASIC[kind] and caller.members & set(each["members"]) for each in owners):
                    return True
        return False

    def _in_effect(self, name: str, now: datetime) -> list[Json]:
        versions = self._under_way.get(name)
        if not versions:
            record = self._store.get("policy", name)
            bindings: list[Json] = record.value["bindings"] if record else []
            return bindings
        del versions[: max(index for index, (moment, _) in enumerate(versions) if moment <= now)]
        bindings = versions[0][1]
        if len(versions) == 1:
            del self._under_way[name]
        return bindings

    def _replace(self, name: str, bindings: list[Json]) -> None:
        now = self._clock.now()
        before = self._in_effect(name, now)
        if bindings:
            self._store.put("policy", name, {"bindings": bindings})
        else:
            self._store.delete("policy", name)
        self._under_way.setdefault(name, [(now, before)]).append((now + self._propagation(), bindings))

    def _check(self, binding: Json, supported: str) -> None:
        can_matter = any(each.startswith(supported) for each in PERMISSIONS.get(binding["role"], ()))
        if not can_matter and (supported or not is_of_another_service(binding["role"])):
            raise invalid(f"Role {binding['role']} is not supported for this resource.")  # [K]
        for member in binding["members"]:
            self._check_member(member)
        if "condition" in binding:
            check_condition(binding["condition"])

    def _check_member(self, member: str) -> None:
        kind, _, value = member.partition(":")
        if member in {"allUsers", "allAuthenticatedUsers"}:
            return
        if kind in {"principal", "principalSet"}:
            self._check_principal(member)
        elif kind == "serviceAccount":
            gke = _GKE_POOL.fullmatch(member)
            if gke:
                raise _no_pool(gke["pool"])
            account = self._store.get("serviceAccount", value)
            if not account or account.value["visibleFrom_s"] > self._clock.now().timestamp():
                raise invalid(f"Service account {value} does not exist.")  # google-behaviour: errors [M]
        elif kind not in {"user", "group", "domain", "deleted", *_BASIC} or not value:
            raise invalid(f"The member {member} is of an unknown type. Please set a valid type prefix for the member.")  # [K]

    def _check_principal(self, member: str) -> None:
        try:
            pool = str(Principal.parse(member).pool)
        except ConfigError:
            raise invalid(f"Invalid principal: {member}.") from None  # [?]
        if not self._store.get("pool", pool):
            raise _no_pool(pool)  # [?] for pools of one's own; measured for GKE's


def _no_pool(name: str) -> Fault:
    return invalid(
        f"Identity Pool does not exist ({name}). Please check that you specified a valid resource name as returned in the `name` "
        "attribute in the configuration API."
    )


def _parsed(bindings: object) -> list[Json]:
    try:
        parsed: list[Json] = msgspec.to_builtins(msgspec.convert(bindings, list[_Binding]))
    except msgspec.ValidationError as error:
        raise invalid(f"Invalid value at 'policy.bindings': {error}") from None
    return parsed


def _merged(bindings: list[Json]) -> list[Json]:
    """Join bindings of one role and condition, as Google does; order by role."""
    rows: dict[tuple[str, str], Json] = {}
    for binding in bindings:
        condition = binding.get("condition")
        row = rows.setdefault((binding["role"], repr(condition)), {"role": binding["role"], "members": []})
        row["members"] += [member for member in binding.get("members", ()) if member not in row["members"]]
        row |= {"condition": condition} if condition else {}
    return [rows[key] for key in sorted(rows) if rows[key]["members"]]


def _folded(binding: Json) -> Json:
    if "condition" not in binding:
        return binding
    digest = hashlib.sha256(repr(binding["condition"]).encode()).hexdigest()[:20]
    return {"role": f"{binding['role']}_withcond_{digest}", "members": binding["members"]}  # form [R], digest [?]


def _etag(revision: int) -> str:
    """Make an etag that looks like Google's and, like those, has `+` or `/` in it every third time."""
    return base64.b64encode(b"\x07" + hashlib.blake2b(revision.to_bytes(8, "big"), digest_size=7).digest()).decode()


def _same_bytes(etag: object, ours: str) -> bool:
    try:
        return base64.b64decode(str(etag).translate(_STANDARD), validate=True) == base64.b64decode(ours)
    except ValueError:
        raise invalid("Invalid value at 'policy.etag': Base64 decoding failed.") from None
