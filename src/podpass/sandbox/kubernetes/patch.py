# SPDX-License-Identifier: Apache-2.0
"""The three patches that say what changes: JSON patch, merge patch, strategic merge patch. Pure: values in, a new value out."""

import json
from collections.abc import Callable
from typing import Any, Final, cast

import jsonpatch

from podpass.sandbox.kubernetes import schema
from podpass.sandbox.kubernetes.status import StatusError

Json = dict[str, Any]

APPLY: Final = "application/apply-patch+yaml"  # no patch of these: it says what is wanted, see `managed`
_JSON_PATCH, _MERGE_PATCH = "application/json-patch+json", "application/merge-patch+json"
_STRATEGIC_PATCH = "application/strategic-merge-patch+json"

# Lists that are merged item by item, and the member that tells the items apart (k8s.io/api, patchMergeKey).
_LISTS_BY_KEY: Final = {
    "name": "containers initContainers ephemeralContainers env volumes imagePullSecrets secrets",
    "mountPath": "volumeMounts",
    "devicePath": "volumeDevices",
    "containerPort": "ports",
    "type": "conditions addresses",
    "uid": "ownerReferences",
    "ip": "hostAliases podIPs hostIPs",
    "topologyKey": "topologySpreadConstraints",
}
MERGE_KEYS: Final = {name: key for key, names in _LISTS_BY_KEY.items() for name in names.split()}
PRIMITIVE_SETS: Final = frozenset({"finalizers"})
_ORDER, _DELETE = "$setElementOrder/", "$deleteFromPrimitiveList/"


def patch_of(media_type: str, body: bytes) -> Callable[[Json], Json]:
    """Return the change that a patch makes.

    Raises:
        StatusError: 400, it cannot be read; 415, it is of no known kind.
    """
    try:
        patch: Any = json.loads(body) if media_type == _JSON_PATCH else schema.parse(body)
    except ValueError as error:
        raise StatusError(400, f"error decoding patch: {error}") from error
    patches: dict[str, Callable[[Json, Any], Json]] = {
        _JSON_PATCH: json_patch,
        _MERGE_PATCH: merge_patch,
        _STRATEGIC_PATCH: strategic_merge_patch,
    }
    if media_type not in patches:
        accepted = ", ".join((*patches, APPLY))
        raise StatusError(415, f"the body of the request was in an unknown format - accepted media types include: {accepted}")
    return lambda obj: patches[media_type](obj, patch)


def json_patch(target: Json, operations: list[Json]) -> Json:
    """Apply RFC 6902.

    Raises:
        StatusError: 422, a test fails or a path is not there; 400, not a patch.
    """
    try:
        return cast("Json", jsonpatch.apply_patch(target, operations))
    except (jsonpatch.InvalidJsonPatch, jsonpatch.JsonPointerException, TypeError) as error:
        raise StatusError(422, f"the server rejected our request due to an error in our request: {error}") from error
    except jsonpatch.JsonPatchException as error:
        raise StatusError(422, f"the server rejected our request due to an error in our request: {error}") from error


def merge_patch(target: Any, patch: Any) -> Any:  # noqa: ANN401 - JSON
    """Apply RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def strategic_merge_patch(target: Json, patch: Json) -> Json:
    """Apply Kubernetes' own merge: lists of objects by their merge keys, and the `$` directives.

    Raises:
        StatusError: 400, an item lacks its list's merge key.
    """
    plain = {name: value for name, value in patch.items() if not name.startswith("$")}
    if patch.get("$patch") in {"replace", "delete"}:
        return plain if patch["$patch"] == "replace" else {}
    result = {name: value for name, value in target.items() if name in patch.get("$retainKeys", target)}
    for name, value in patch.items():
        if name.startswith(_DELETE):
            field = name.removeprefix(_DELETE)
            result[field] = [item for item in result.get(field, []) if item not in value]
    for name, value in plain.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(name, result.get(name), value)
    for name, value in patch.items():
        if name.startswith(_ORDER) and (field := name.removeprefix(_ORDER)) in result:
            result[field] = _ordered(result[field], value, MERGE_KEYS.get(field))
    return result


def _merged(name: str, old: Any, value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, dict):
        return strategic_merge_patch(old if isinstance(old, dict) else {}, value)
    if not isinstance(value, list):
        return value
    items = old if isinstance(old, list) else []
    if name in PRIMITIVE_SETS:
        return items + [item for item in value if item not in items]
    return _merged_list(items, value, MERGE_KEYS[name]) if name in MERGE_KEYS and _objects(value) else value


def _objects(items: list[Any]) -> bool:
    return all(isinstance(item, dict) for item in items)


def _merged_list(old: list[Json], patch: list[Json], key: str) -> list[Json]:
    if any(item.get("$patch") == "replace" for item in patch):
        return [item for item in patch if "$patch" not in item]
    result = list(old)
    for item in patch:
        if key not in item:
            raise StatusError(400, f"map: {json.dumps(item)} does not contain declared merge key: {key}")
        place = next((index for index, known in enumerate(result) if known.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result = [known for known in result if known.get(key) != item[key]]
        elif place is None:
            result.append(strategic_merge_patch({}, item))
        else:
            result[place] = strategic_merge_patch(result[place], item)
    return result


def _ordered(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    ranks = [entry.get(key) if key and isinstance(entry, dict) else entry for entry in order]

    def rank(item: Any) -> int:  # noqa: ANN401 - JSON
        name = item.get(key) if key and isinstance(item, dict) else item
        return ranks.index(name) if name in ranks else len(ranks)

    return sorted(items, key=rank)
