# SPDX-License-Identifier: Apache-2.0
"""Talos: the machine configuration, its documents since 1.14, and patches of both. Pure."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Final

from podpass.federate.clusters.flags import KEY_FILE, SIGNING_KEY_FILE
from podpass.federate.clusters.statement import Node, Statement, from_map, items, mapping, text

_API_SERVER: Final = ("cluster", "apiServer")
_KEY: Final = ("cluster", "serviceAccount", "key")
# A node of the tree that holds more than what a patch means to change.
_SHARED: Final = frozenset({"/cluster", "/cluster/apiServer", "/cluster/apiServer/extraArgs"})
_DENIED: Final = frozenset({KEY_FILE, SIGNING_KEY_FILE})
# What a whole configuration has, and a patch about service accounts has not.
_WHOLE: Final = ("type", "token", "ca")


def is_json_patch(document: object) -> bool:
    """Whether it is a list of operations of RFC 6902."""
    operations = items(document)
    return bool(operations) and all(isinstance(one, Mapping) and "op" in one and "path" in one for one in operations)


def is_config(document: object) -> bool:
    """Whether it is a configuration of the first kind, or a strategic-merge patch of one."""
    return isinstance(document, Mapping) and "kind" not in document and ("machine" in document or "cluster" in document)


def read_json_patch(document: object, where: str) -> Iterator[Statement]:
    """Read operations as if they had been laid over an empty configuration."""
    tree: dict[str, object] = {}
    replaced = []
    for operation in items(document):
        path = str(operation["path"])
        if operation["op"] not in {"add", "replace"}:
            continue
        _put(tree, [_unescaped(part) for part in path.split("/")[1:]], operation.get("value"))
        if path.rstrip("/") in _SHARED:
            replaced.append(path)
    yield _statement(tree, where, "Talos JSON patch", is_change=True, replaced=tuple(replaced), is_json_patch=True)


def read_config(document: Node, where: str) -> Iterator[Statement]:
    """Read a configuration, or a patch."""
    is_whole = any(name in mapping(document, "machine") for name in _WHOLE)
    yield _statement(document, where, "Talos machine configuration" if is_whole else "Talos patch", is_change=not is_whole)


def read_api_server(document: Node, where: str) -> Iterator[Statement]:
    """Read a KubeAPIServerConfig; one without an image is a patch."""
    settings = from_map(document.get("extraArgs"))
    yield Statement(where, "Talos KubeAPIServerConfig", settings, is_change="image" not in document, refused=_refused(settings))


def read_service_account(document: Node, where: str) -> Iterator[Statement]:
    """Read a KubeServiceAccountConfig."""
    issuer, accepted = mapping(document, "issuer"), mapping(document, "accepted")
    issuers = [text(one) for one in (issuer.get("issuerURL"), *items(accepted.get("issuers"))) if one]
    audiences = [text(one) for one in items(accepted.get("audiences"))]
    settings = [("service-account-issuer", one) for one in issuers]
    if audiences:
        settings.append(("api-audiences", ",".join(audiences)))
    yield Statement(
        where,
        "Talos KubeServiceAccountConfig",
        tuple(settings),
        is_change="privateKey" not in issuer,
        private_key=text(issuer.get("privateKey")),
        accepted_keys=bool(accepted.get("publicKeys")),
    )


def _statement(
    document: object, where: str, form: str, *, is_change: bool, replaced: tuple[str, ...] = (), is_json_patch: bool = False
) -> Statement:
    settings = from_map(mapping(document, *_API_SERVER, "extraArgs"))
    key = mapping(document, *_KEY[:-1]).get(_KEY[-1])
    return Statement(
        where,
        form,
        settings,
        is_change=is_change,
        private_key=_pem(key),
        replaced=replaced,
        is_json_patch=is_json_patch,
        refused=_refused(settings),
    )


def _pem(key: object) -> str:
    """Return the key that stands in base64; what is no base64 (a variable of a script) is returned as it is: it stands for a key."""
    if not isinstance(key, str) or not key:
        return ""
    try:
        return base64.b64decode(key, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return key


def _refused(settings: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(sorted({name for name, _ in settings} & _DENIED))


def _put(tree: dict[str, object], path: list[str], value: object) -> None:
    *above, last = path or [""]
    for part in above:
        inner = tree.get(part)
        if not isinstance(inner, dict):
            inner = {}
            tree[part] = inner
        tree = inner
    tree[last] = value


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
