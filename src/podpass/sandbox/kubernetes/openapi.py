# SPDX-License-Identifier: Apache-2.0
"""OpenAPI v3 of what is served, derived from lightkube-models: kubectl reads it before `apply`, and for `explain`.

That `patch` has a parameter `fieldValidation` tells kubectl to leave the validation to the server.
"""

import functools
import hashlib
import json
import re
import typing
from datetime import datetime
from typing import Any, Final

import msgspec

from podpass.sandbox.kubernetes.discovery import GROUPS, kinds_in
from podpass.sandbox.kubernetes.kind import Kind
from podpass.sandbox.kubernetes.patch import MERGE_KEYS
from podpass.sandbox.kubernetes.schema import Model, fields_of

_META: Final = "io.k8s.apimachinery.pkg.apis.meta.v1"
_PLAIN: Final[dict[object, dict[str, Any]]] = {
    int: {"type": "integer", "format": "int32"},
    str: {"type": "string"},
    bool: {"type": "boolean"},
    float: {"type": "number", "format": "double"},
    datetime: {"type": "string", "format": "date-time"},
    dict: {"type": "object", "additionalProperties": {"type": "string"}},
}
# From Python 3.13 on, a docstring has no indentation.
_MEMBER: Final = re.compile(r"^\s*\* \*\*(?P<name>\w+)\*\* ``.*?``(?: - (?P<text>.*?))?$(?P<more>(?:\n(?!\s*\* \*\*).*)*)", re.MULTILINE)


def paths() -> dict[str, Any]:
    """Return the document at /openapi/v3: where the documents of the groups are."""
    names = ["api/v1", *(f"apis/{group}/v1" for group in GROUPS)]
    return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}?hash={_hash(name)}"} for name in names}}


@functools.cache
def _hash(name: str) -> str:
    return hashlib.sha256(json.dumps(document(name)).encode()).hexdigest()[:32].upper()


@functools.cache
def document(name: str) -> dict[str, Any]:
    """Return the document of a group, such as `api/v1` or `apis/batch/v1`.

    Raises:
        KeyError: No such group.
    """
    group = "" if name == "api/v1" else name.removeprefix("apis/").removesuffix("/v1")
    if not kinds_in(group) or name not in {"api/v1", f"apis/{group}/v1"}:
        raise KeyError(name)
    schemas: dict[str, Any] = {}
    routes: dict[str, Any] = {}
    for kind in kinds_in(group):
        _define(kind.model, schemas)
        schemas[_name(kind.model)]["x-kubernetes-group-version-kind"] = [_gvk(kind)]
        routes |= _routes(f"/{name}", kind)
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.0"}, "paths": routes, "components": {"schemas": schemas}}


def _gvk(kind: Kind) -> dict[str, str]:
    return {"group": kind.group, "kind": kind.name, "version": kind.version}


def _routes(root: str, kind: Kind) -> dict[str, Any]:
    collection = f"{root}/namespaces/{{namespace}}/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("dryRun", "fieldManager", "fieldValidation")]
    reference = {"schema": {"$ref": f"#/components/schemas/{_name(kind.model)}"}}

    def operation(action: str) -> dict[str, Any]:
        body = {"requestBody": {"content": {"application/json": reference}}} if action in {"post", "put"} else {}
        answer = {"200": {"description": "OK", "content": {"application/json": reference}}}
        head = {"x-kubernetes-action": action, "x-kubernetes-group-version-kind": _gvk(kind)}
        return {
            **head,
            "parameters": [*parameters, {"name": "force", "in": "query", "schema": {"type": "boolean"}}],
            **body,
            "responses": answer,
        }

    routes = {collection: {"get": operation("list"), "post": operation("post")}}
    if "get" in kind.verbs:
        routes[f"{collection}/{{name}}"] = {verb: operation(verb) for verb in ("get", "put", "patch", "delete")}
    return routes


def _name(model: Model) -> str:
    module = model.__module__.rpartition(".")[2].replace("_", ".")
    return f"{_META}.{model.__name__}" if module == "meta.v1" else f"io.k8s.api.{module}.{model.__name__}"


def _define(model: Model, schemas: dict[str, Any]) -> None:
    """Add a model and all that it is made of."""
    if _name(model) in schemas:
        return
    description, members = _described(model)
    schema: dict[str, Any] = {"type": "object", "description": description, "properties": {}}
    schemas[_name(model)] = schema
    for name, (hint, must) in fields_of(model).items():
        member = _schema(hint, schemas)
        if "$ref" in member:
            member = {"allOf": [member], "default": {}}
        if typing.get_origin(hint) is list and name in MERGE_KEYS:
            key = MERGE_KEYS[name]
            member |= {"x-kubernetes-patch-merge-key": key, "x-kubernetes-patch-strategy": "merge"}
        schema["properties"][name] = {**member, "description": members.get(name, "")}
        if must:
            schema.setdefault("required", []).append(name)


def _schema(hint: Any, schemas: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - any type hint
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        _define(hint, schemas)
        return {"$ref": f"#/components/schemas/{_name(hint)}"}
    if typing.get_origin(hint) is list:
        return {"type": "array", "items": _schema(typing.get_args(hint)[0], schemas)}
    if hint in _PLAIN:
        return dict(_PLAIN[hint])
    if typing.get_origin(hint) is typing.Union:
        return {"oneOf": [{"type": "integer"}, {"type": "string"}], "format": "int-or-string"}
    return {"type": "object"}


def _described(model: Model) -> tuple[str, dict[str, str]]:
    """Take a model's docstring apart: what it is, and what its members are."""
    text, _, members = (model.__doc__ or "").partition("**parameters**")
    found = {row["name"]: " ".join(f"{row['text'] or ''} {row['more']}".split()) for row in _MEMBER.finditer(members)}
    return " ".join(text.split()), found
