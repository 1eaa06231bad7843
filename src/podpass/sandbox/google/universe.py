# SPDX-License-Identifier: Apache-2.0
"""Google's side as one object, behind the dispatcher and its services: store, clock, policies, identities, tokens."""

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from podpass.clock import Clock, SystemClock
from podpass.sandbox.ca import write_private
from podpass.sandbox.google.groups import Groups
from podpass.sandbox.google.identities import Identities
from podpass.sandbox.google.issuer_keys import IssuerKeys
from podpass.sandbox.google.policies import Policies
from podpass.sandbox.google.request_log import RequestLog
from podpass.sandbox.google.resource import project_resource
from podpass.sandbox.google.signing import SigningKey
from podpass.sandbox.google.tokens import Tokens
from podpass.sandbox.settings import APIS, SandboxSettings
from podpass.sandbox.store import Json, Store
from podpass.sandbox.weather.faults import Faults
from podpass.sandbox.weather.weather import GoogleClock, Weather

# Members of records that differ from one run to the next although nothing differs that anybody declared.
_VOLATILE = frozenset(
    {
        "blob",
        "createTime",
        "creationTimestamp",
        "etag",
        "expireTime",
        "generation",
        "id",
        "metageneration",
        "oauth2ClientId",
        "timeCreated",
        "timeStorageClassUpdated",
    }
    | {"uid", "uniqueId", "updated", "visibleFrom_s"}
)

# Kinds of which a record is only a request under way, or how a process does.
_FLEETING = frozenset({"run.status", "storage.upload"})


class Universe:
    """Everything that Google knows, in one process.

    Args:
        settings: Its shape.
        clock: The present moment; tests pass one that they move.
        weather: What goes wrong; None: one of its own, which is calm.
    """

    def __init__(self, settings: SandboxSettings, clock: Clock | None = None, weather: Weather | None = None) -> None:
        directory = settings.state_dir / "google" if settings.state_dir else None
        self.settings = settings
        clock = clock or SystemClock()
        self.weather = weather or Weather(clock)
        self.clock: Clock = GoogleClock(clock, self.weather)
        if directory:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)  # private objects lie in it
        self.store = Store(directory)
        self.tokens = Tokens(_kept(directory, "token.key", lambda: secrets.token_bytes(32)))
        self.signing_key = SigningKey(directory and directory / "google-signing.key")
        self._directory = directory
        self._account_keys: dict[str, SigningKey] = {}
        self.groups = Groups(self.store)
        for group, members in settings.groups:
            self.groups.declare(group, members)
        self.identities = Identities(self.store, self.clock, self.tokens, self.groups)
        self.policies = Policies(self.store, self.clock, lambda: self.settings.propagation)
        self.log = RequestLog()
        self.operations: dict[str, Json] = {}
        self.issuer_keys = IssuerKeys(self.clock)
        self._switched_off: list[str] = []
        for project_id, number in settings.projects.items():
            self._found(project_id, number)

    def close(self) -> None:
        """Let go of files; what faults had switched off is on when they are taken up again."""
        self.change_weather(Faults())
        self.store.close()

    def change_settings(self, *, propagation: timedelta | None = None, latency: timedelta | None = None) -> None:
        """Change what can be changed while it runs."""
        self.settings = replace(
            self.settings,
            propagation=self.settings.propagation if propagation is None else propagation,
            latency=self.settings.latency if latency is None else latency,
        )

    def change_weather(self, faults: Faults) -> None:
        """Put faults into effect in place of those so far. What those had switched off comes on again; a rotated key stays."""
        apis = [f"{project}/{api}" for project in self.settings.projects for api in faults.google.disabled_apis]
        for key in self._switched_off:
            self.store.put("enabledService", key, {})
        self._switched_off = [key for key in apis if self.store.get("enabledService", key)]
        for key in self._switched_off:
            self.store.delete("enabledService", key)
        if faults.google.signing_key != "kept":
            self.signing_key.rotate(keep=faults.google.signing_key == "rotated")
        self.weather.change(faults)

    def account_key(self, email: str) -> SigningKey | None:
        """Return the key that Google manages for a service account; None where there is no such account."""
        account = self.store.get("serviceAccount", email)
        if account is None:
            return None
        unique_id = account.value["uniqueId"]
        path = self._directory and self._directory / f"account-{unique_id}.key"
        holder = email[:64]  # a common name is no longer (RFC 5280, appendix A.1)
        return self._account_keys.setdefault(unique_id, SigningKey(path, holder))

    def latency_s(self) -> float:
        """Return the simulated round trip as it is now, in seconds."""
        return self.settings.latency.total_seconds()

    def project(self, name: str) -> Json | None:
        """Find a project by id or number."""
        record = self.store.get("project", name)
        if record:
            return record.value
        return next((each.value for each in self.store.select("project") if each.value["projectNumber"] == name), None)

    def project_id(self, name: str) -> str:
        """Return the id of a project by id or number; a name that nobody has is returned as it is, and no policy will allow it."""
        found = self.project(name)
        return str(found["projectId"]) if found else name

    def dump(self) -> Json:
        """Return everything that was declared, in a stable form; what is soft-deleted, or below that, stands by name under `tombstones`."""
        records = [record for kind in self.store.kinds() if kind not in _FLEETING for record in self.store.select(kind)]
        deleted = tuple(f"{record.key}/" for record in records if record.value.get("state") == "DELETED")
        dump: Json = {}
        tombstones = set()
        for record in records:
            if f"{record.key}/".startswith(deleted):
                kind = "serviceAccount" if record.kind == "deletedServiceAccount" else record.kind
                tombstones.add(f"{kind} {record.value.get('email') or record.key}")
            else:
                dump.setdefault(record.kind, {})[record.key] = _declared(record.value)
        return {**dump, "tombstones": sorted(tombstones)}

    def _found(self, project_id: str, number: str) -> None:
        if self.store.get("project", project_id):
            return
        created = self.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        project = {"projectId": project_id, "projectNumber": number, "lifecycleState": "ACTIVE", "name": project_id, "createTime": created}
        self.store.put("project", project_id, project)
        self.policies.seed(project_resource(project_id), [{"role": "roles/owner", "members": [f"user:{self.settings.operator}"]}])
        for api in sorted(set(APIS) - self.settings.disabled_apis):
            self.store.put("enabledService", f"{project_id}/{api}", {})


def _declared(value: Json) -> Json:
    return {name: _declared(each) if isinstance(each, dict) else each for name, each in value.items() if name not in _VOLATILE}


def _kept(directory: Path | None, name: str, make: Callable[[], bytes]) -> bytes:
    """Make a secret once; with a directory, keep it there for its owner alone."""
    if directory is None:
        return make()
    path = directory / name
    if not path.exists():
        write_private(path, make())
    return path.read_bytes()
