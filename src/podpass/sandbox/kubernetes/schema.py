# SPDX-License-Identifier: Apache-2.0
"""The field validation of the API server: bodies are read against lightkube-models' types, nothing unknown gets in unseen."""

import functools
import json
import types
import typing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
import yaml

from podpass.sandbox.kubernetes.status import Cause, StatusError, required

Model = type[msgspec.Struct]
Directive = Literal["Strict", "Warn", "Ignore"]

# Go's unmarshaller names what it found and what it wanted.
_JSON_NAMES: dict[type, str] = {bool: "bool", int: "number", float: "number", str: "string", dict: "object", list: "array"}
_GO_NAMES: dict[object, str] = {bool: "bool", int: "int32", str: "string", float: "float64", datetime: "v1.Time", dict: "map[string]string"}
_QUANTITIES = frozenset({"limits", "requests", "capacity", "allocatable", "overhead"})


class Members(dict[str, Any]):
    """A JSON object that remembers which of its members came twice."""

    repeated: tuple[str, ...] = ()

    @classmethod
    def of(cls, pairs: list[tuple[Any, Any]]) -> "Members":
        """Build from members in their order; the last of a name wins, as in the real server."""
        members = cls(pairs)
        if len(members) < len(pairs):
            names = [name for name, _ in pairs]
            members.repeated = tuple(dict.fromkeys(name for name in names if names.count(name) > 1))
        return members


class _Loader(yaml.SafeLoader):
    """YAML as Kubernetes reads it: no timestamps, and repeated keys are seen."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own form
        first: [row for row in rows if row[0] != "tag:yaml.org,2002:timestamp"]
        for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Members:
    loader.flatten_mapping(node)
    return Members.of([(loader.construct_object(key), loader.construct_object(value, deep=True)) for key, value in node.value])


_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


def parse(body: bytes) -> dict[str, Any]:
    """Read a JSON or YAML object.

    Raises:
        StatusError: 400, it is neither, or not an object.
    """
    try:
        value = json.loads(body, object_pairs_hook=Members.of)
    except ValueError:
        try:
            value = yaml.load(body, _Loader)  # noqa: S506 - a SafeLoader
        except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
            raise StatusError(400, f"the body is neither JSON nor YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise StatusError(400, "the body is nested too deep") from error
    if not isinstance(value, dict):
        raise StatusError(400, "couldn't get version/kind; json parse error: the body is not an object")
    return value


@functools.cache
def fields_of(model: Model) -> dict[str, tuple[Any, bool]]:
    """Name a model's JSON members: type, and whether the schema requires it."""
    return {info.encode_name: (_plain(info.type), info.required) for info in msgspec.structs.fields(model)}


def _plain(hint: Any) -> Any:  # noqa: ANN401 - any type hint
    """Take the None out of `Optional[…]`."""
    if typing.get_origin(hint) in {typing.Union, types.UnionType}:
        rest = [choice for choice in typing.get_args(hint) if choice is not type(None)]
        return rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]  # noqa: UP007 - built at run time
    return hint


@dataclass(slots=True)
class _Findings:
    strict: list[str] = field(default_factory=list)
    causes: list[Cause] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reading:
    """An object with only known members, what the schema still misses, and what to warn of."""

    value: dict[str, Any]
    causes: list[Cause]
    warnings: list[str]


def read(value: dict[str, Any], model: Model, directive: Directive) -> Reading:
    """Check a body against a model, member by member.

    Raises:
        SchemaError: A member has the wrong type; or, if strict, is unknown or repeated.
    """
    findings = _Findings()
    clean = _object(value, model, "", findings)
    if findings.strict and directive == "Strict":
        raise SchemaError(f"strict decoding error: {', '.join(findings.strict)}", tuple(findings.strict))
    return Reading(clean, findings.causes, findings.strict if directive == "Warn" else [])


class SchemaError(Exception):
    """The body does not fit its schema; the caller puts it into the words of the request it came with.

    Args:
        message: What is wrong.
        strict: The members that are unknown or repeated, a sentence each, if that is all.
    """

    def __init__(self, message: str, strict: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.strict = strict


def _object(value: dict[str, Any], model: Model, path: str, findings: _Findings) -> dict[str, Any]:
    known = fields_of(model)
    findings.strict += [f'duplicate field "{_join(path, name)}"' for name in getattr(value, "repeated", ())]
    clean: dict[str, Any] = {}
    for name, item in value.items():
        if name not in known:
            findings.strict.append(f'unknown field "{_join(path, name)}"')
        elif item is not None:
            clean[name] = _value(item, known[name][0], _join(path, name), model, findings)
    if not path.startswith("status"):
        findings.causes += [required(_join(path, name)) for name, (_, must) in known.items() if must and name not in clean]
    return clean


def _value(value: Any, hint: Any, path: str, owner: Model, findings: _Findings) -> Any:  # noqa: ANN401 - JSON
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        if not isinstance(value, dict):
            raise _mismatch(value, hint, path, owner)
        return _object(value, hint, path, findings)
    if typing.get_origin(hint) is list:
        if not isinstance(value, list):
            raise _mismatch(value, hint, path, owner)
        (item,) = typing.get_args(hint)
        return [_value(each, item, f"{path}[{index}]", owner, findings) for index, each in enumerate(value)]
    if hint is dict:
        return _map(value, path, owner, findings)
    if hint is datetime:
        if not isinstance(value, str):
            raise _mismatch(value, hint, path, owner)
        return value
    if hint in {int, str, bool, float}:
        fits = isinstance(value, bool) if hint is bool else isinstance(value, hint) and not isinstance(value, bool)
        if not fits and not (hint is float and isinstance(value, int)):
            raise _mismatch(value, hint, path, owner)
    return value


def _map(value: Any, path: str, owner: Model, findings: _Findings) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(value, dict):
        raise _mismatch(value, dict, path, owner)
    findings.strict += [f'duplicate field "{_join(path, name)}"' for name in getattr(value, "repeated", ())]
    quantities = path.rpartition(".")[2] in _QUANTITIES
    for item in value.values():
        if not isinstance(item, str) and item is not None and not (quantities and isinstance(item, (int, float))):
            raise _mismatch(item, str, path, owner)
    return {str(name): "" if item is None else str(item) for name, item in value.items()}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _mismatch(value: object, hint: Any, path: str, owner: Model) -> SchemaError:  # noqa: ANN401 - any type hint
    found = next((name for kind, name in _JSON_NAMES.items() if isinstance(value, kind)), "null")
    wanted = _GO_NAMES.get(hint) or getattr(hint, "__name__", str(hint))
    return SchemaError(f"json: cannot unmarshal {found} into Go struct field {owner.__name__}.{path} of type {wanted}")
