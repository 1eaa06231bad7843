# SPDX-License-Identifier: Apache-2.0
"""The sandbox's tables against Google's discovery documents, as google-api-python-client ships them."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from googleapiclient import discovery_cache

from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.service import Method, Public

# Google's libraries leave connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

METHODS = [method for service in SERVICES for method in service.methods]
DOCUMENTED = [method for method in METHODS if not method.undocumented]
_VARIABLE = re.compile(r"\{[^}]+\}")


def names(method: Method) -> str:
    return f"{method.id} {method.verb} {method.path}"


@cache
def document(name: str) -> dict[str, Any]:
    text = (Path(discovery_cache.__file__).parent / "documents" / f"{name}.json").read_text()
    parsed: dict[str, Any] = json.loads(text)
    return parsed


def declared(level: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from level.get("methods", {}).values()
    for resource in level.get("resources", {}).values():
        yield from declared(resource)


def paths(described: dict[str, Any], base: str) -> Iterator[str]:
    """Every path that reaches a described method: its own, its uploads' and its download's."""
    own = base + described.get("flatPath", described["path"])
    yield own
    if described.get("useMediaDownloadService"):
        yield f"/download{own}"
    yield from (protocol["path"] for protocol in described.get("mediaUpload", {}).get("protocols", {}).values())


def same(ours: str, theirs: str) -> bool:
    """Tell whether a path of ours is one of theirs; where they have a variable, we may have a value (`locations/global`)."""
    pattern = "[^/]+".join(map(re.escape, _VARIABLE.split(theirs)))
    return re.fullmatch(pattern, _VARIABLE.sub("x", ours)) is not None


@pytest.mark.parametrize("method", DOCUMENTED, ids=names)
def test_every_method_is_google_s_own(method: Method) -> None:
    found = []
    for name in method.service.discovery.split():
        root = document(name)
        base = urlsplit(root["rootUrl"]).path + root["servicePath"]
        found += [
            described["httpMethod"]
            for described in declared(root)
            if described["id"] == method.id and any(same(method.path, path) for path in paths(described, base))
        ]
    assert method.verb in found


@pytest.mark.parametrize("method", [each for each in METHODS if each.undocumented], ids=names)
def test_an_undocumented_method_says_where_it_is_known_from(method: Method) -> None:
    assert len(method.undocumented) > len("somewhere")


@pytest.mark.parametrize("method", METHODS, ids=names)
def test_every_method_names_its_permission_or_why_it_needs_none(method: Method) -> None:
    if isinstance(method.permission, Public):
        assert " " in method.permission.why
    else:
        assert re.fullmatch(r"[a-z]+(\.[a-zA-Z]+){2}", method.permission)
        assert method.on


def test_every_host_is_the_one_of_its_documents() -> None:
    for service in SERVICES:
        for name in service.discovery.split():
            assert urlsplit(document(name)["rootUrl"]).hostname in service.hosts
