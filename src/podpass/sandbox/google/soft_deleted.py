# SPDX-License-Identifier: Apache-2.0
"""What pools and providers have in common: fields under an update mask, operations, soft deletion (google-behaviour: pools)."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from podpass.sandbox.google.message import Fault, exists, invalid, not_found
from podpass.sandbox.google.paging import page
from podpass.sandbox.google.service import Call, Handler, Method, On, method
from podpass.sandbox.store import Json, Record
from podpass.wif.limits import Violation

_TYPE_NAMES = {str: "TYPE_STRING", bool: "TYPE_BOOL", dict: "Map", list: "List"}


@dataclass(frozen=True, slots=True)
class SoftDeletedKind:
    """One kind of entity, and the seven methods that Google has for it.

    Attributes:
        kind: Its kind in the store, and its name in paths.
        plural: The list's member in answers.
        path: The path of the collection.
        id: What the ids of its methods begin with.
        id_parameter: The query's parameter with the id of a new one.
        permissions: What its permissions begin with.
        protobuf: Its protobuf type, as operations name it.
        page_limit: The most that a page of the list holds.
        fields: The leaves that may be set, dotted, each with the type of its value.
        collection: Names the collection of a call in full.
        check: Lists what Google would refuse in a whole value.
        forbid: Raises what the organization forbids of a whole value.
    """

    kind: str
    plural: str
    path: str
    id: str
    id_parameter: str
    permissions: str
    protobuf: str
    page_limit: int
    fields: Mapping[str, type]
    collection: Callable[[Call], str]
    check: Callable[[Json], list[Violation]]
    forbid: Callable[[Call, Json], None] = lambda _call, _value: None

    def methods(self, on: On) -> tuple[Method, ...]:
        """Declare the methods; `on` names what a path is about."""
        one = f"{self.path}/{{{self.kind}}}"
        rows: tuple[tuple[str, str, str, str, Handler], ...] = (
            ("create", "POST", self.path, "create", self.create),
            ("list", "GET", self.path, "list", self.list_page),
            ("get", "GET", one, "get", lambda call: self.find(call).value),
            ("patch", "PATCH", one, "update", self.patch),
            ("delete", "DELETE", one, "delete", self.delete),
            ("undelete", "POST", f"{one}:undelete", "undelete", self.undelete),
            ("operations.get", "GET", f"{one}/operations/{{operation}}", "get", _operation),
        )
        return tuple(
            method(id=f"{self.id}.{name}", verb=verb, path=path, permission=f"{self.permissions}.{permission}", on=on)(handler)
            for name, verb, path, permission, handler in rows
        )

    def find(self, call: Call, name: str = "") -> Record:
        """Read the one that the call is about, or another by its full name; also a deleted one that is not yet gone for good.

        Raises:
            Fault: 404.
        """
        record = call.universe.store.get(self.kind, name or call.on.path)
        if record is None or _is_gone(record.value, call.universe.clock.now()):
            raise not_found()
        return record

    def list_page(self, call: Call) -> Json:
        """List a page of the collection, deleted ones only when the query asks for them."""
        now, deleted_too = call.universe.clock.now(), call.query.flag("showDeleted")
        values = [record.value for record in call.universe.store.select(self.kind, f"{self.collection(call)}/")]
        shown = [value for value in values if not _is_gone(value, now) and (deleted_too or value["state"] == "ACTIVE")]
        return page(call, self.plural, shown, default=50, most=self.page_limit)

    def create(self, call: Call) -> Json:
        """Create one from the body.

        Raises:
            Fault: A bad id or body, or a name that is taken; a deleted one keeps its name for 30 days.
        """
        name = f"{self.collection(call)}/{call.query.get(self.id_parameter, '')}"
        taken = call.universe.store.get(self.kind, name)
        if taken and not _is_gone(taken.value, call.universe.clock.now()):
            raise exists()
        if taken:
            _purge(call, name)
        value: Json = {"name": name, "state": "ACTIVE"}
        self._assign(value, call.json(), set(self.fields))
        return self._written(call, value, 0)

    def patch(self, call: Call) -> Json:
        """Change what the update mask names, and nothing else: a masked field that the body lacks is cleared."""
        record = self._in_state(call, "ACTIVE")
        self._assign(record.value, call.json(), self._masked(call.query.get("updateMask", "")))
        return self._written(call, record.value, record.revision)

    def delete(self, call: Call) -> Json:
        """Mark one as deleted; its id stays taken until it expires, and what is below it goes and comes back with it."""
        record = self._in_state(call, "ACTIVE")
        expires = call.universe.clock.now() + call.universe.settings.soft_delete
        value = {**record.value, "state": "DELETED", "expireTime": expires.strftime("%Y-%m-%dT%H:%M:%SZ")}
        return self._written(call, value, record.revision)

    def undelete(self, call: Call) -> Json:
        """Have a deleted one back as it was."""
        record = self._in_state(call, "DELETED")
        value = {key: each for key, each in record.value.items() if key != "expireTime"}
        return self._written(call, {**value, "state": "ACTIVE"}, record.revision)

    def _in_state(self, call: Call, state: str) -> Record:
        record = self.find(call)
        if record.value["state"] != state:
            raise Fault(400, "FAILED_PRECONDITION", "Precondition check failed.")  # [?]
        return record

    def _written(self, call: Call, value: Json, expect: int) -> Json:
        if value["state"] == "ACTIVE":
            refuse_violations(self.check(value))
            self.forbid(call, value)
        call.universe.store.put(self.kind, value["name"], value, expect=expect)
        name = f"{value['name']}/operations/{secrets.token_hex(12)}"
        started = {"name": name, "metadata": {"@type": f"type.googleapis.com/{self.protobuf}OperationMetadata"}}
        call.universe.operations[name] = {
            **started,
            "done": True,
            "response": {"@type": f"type.googleapis.com/{self.protobuf}", **value},
        }
        return started

    def _masked(self, mask: str) -> set[str]:
        chosen: set[str] = set()
        for path in filter(None, mask.split(",")):
            leaves = {leaf for leaf in self.fields if path in {leaf, leaf.partition(".")[0], "*"}}
            if not leaves:
                raise invalid(f"Invalid field mask: {path!r} is not a field that can be updated.")  # [?]
            chosen |= leaves
        if not chosen:
            raise invalid("The update mask is required.")  # [?] the text; the rule [R]
        return chosen

    def _assign(self, value: Json, body: Json, leaves: set[str]) -> None:
        known = {leaf.partition(".")[0] for leaf in self.fields} | {"name", "state", "expireTime", "etag"}
        for name in body.keys() - known:
            raise invalid(f'Invalid JSON payload received. Unknown name "{name}": Cannot find field.')  # [K]
        for leaf in sorted(leaves):
            _set(value, leaf, self._typed(leaf, _dig(body, leaf)))

    def _typed(self, leaf: str, found: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
        expected = self.fields[leaf]
        parts = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
        if found is not None and not (isinstance(found, expected) and all(isinstance(part, str) for part in parts)):
            raise invalid(f"Invalid value at '{leaf}' ({_TYPE_NAMES[expected]}), {found!r}")  # [K]
        return found


def refuse_violations(violations: list[Violation]) -> None:
    """Refuse a value with the first rule that it breaks as the message, and all of them as details.

    Raises:
        Fault: 400, if there are any.
    """
    if violations:
        fields = [{"field": each.field, "description": each.message} for each in violations]
        details = ({"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": fields},)
        raise invalid(violations[0].message, details=details)


def _operation(call: Call) -> Json:
    """Answer what has become of an operation: all are done by the time they can be asked for."""
    found = call.universe.operations.get(f"{call.on.path}/operations/{call.params['operation']}")
    if found is None:
        raise not_found()
    return found


def _purge(call: Call, name: str) -> None:
    """Forget one whose time is over, with everything below it."""
    for kind in ("pool", "provider"):
        for record in call.universe.store.select(kind, name):
            if record.key == name or record.key.startswith(f"{name}/"):
                call.universe.store.delete(kind, record.key)


def _is_gone(value: Json, now: datetime) -> bool:
    expires = value.get("expireTime")
    return expires is not None and datetime.fromisoformat(expires) <= now


def _dig(body: Json, leaf: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    here: Any = body
    for name in leaf.split("."):
        here = here.get(name) if isinstance(here, dict) else None
    return here


def _set(value: Json, leaf: str, found: object) -> None:
    *above, name = leaf.split(".")
    for each in above:
        value = value.setdefault(each, {})
    if found:
        value[name] = found
    else:
        value.pop(name, None)  # Google leaves out what is empty or false
