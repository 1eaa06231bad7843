# SPDX-License-Identifier: Apache-2.0
"""The sandbox's tables of methods against Google's own discovery documents, as google-api-python-client ships them."""

import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient
import pytest

from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.roles import PERMISSIONS
from podpass.sandbox.google.service import PUBLIC, Method, Service

DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
PARAMETER = re.compile(r"\{\+?[A-Za-z_0-9]+(=\*\*?)?\}")
DOCUMENTED = [(service, each) for service in SERVICES for each in service.methods if not each.undocumented]


def declared_in(resource: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from resource.get("methods", {}).values()
    for below in resource.get("resources", {}).values():
        yield from declared_in(below)


def paths_of(document: dict[str, Any], declared: dict[str, Any]) -> Iterator[str]:
    """The method's own path, those of its uploads, and that of its download."""
    path = declared.get("flatPath") or declared["path"]
    yield "/" + document["servicePath"] + path
    if declared.get("useMediaDownloadService"):
        yield "/download/" + document["servicePath"] + path
    for protocol in declared.get("mediaUpload", {}).get("protocols", {}).values():
        yield protocol["path"]


@cache
def forms(name: str) -> dict[tuple[str, str], list[str]]:
    """The path patterns of each method id and verb of a document."""
    document = json.loads((DOCUMENTS / f"{name}.json").read_bytes())
    found: dict[tuple[str, str], list[str]] = {}
    for declared in declared_in(document):
        patterns = found.setdefault((declared["id"], declared["httpMethod"]), [])
        patterns += [PARAMETER.sub("[^/]+", re.sub(r"[.:]", r"\\\g<0>", path)) for path in paths_of(document, declared)]
    return found


@pytest.mark.parametrize(("service", "method"), DOCUMENTED, ids=[f"{each.verb} {each.path}" for _, each in DOCUMENTED])
def test_method_is_google_s_own(service: Service, method: Method) -> None:
    ours = PARAMETER.sub("x", method.path)
    known = [pattern for name in service.discovery.split() for pattern in forms(name).get((method.id, method.verb), [])]
    assert known, f"no discovery document of {service.name} has {method.verb} {method.id}"
    assert any(re.fullmatch(pattern, ours) for pattern in known), f"{ours} is none of {known}"


@pytest.mark.parametrize("service", [each for each in SERVICES if each.discovery], ids=lambda each: each.name)
def test_service_is_served_where_google_serves_it(service: Service) -> None:
    documents = [json.loads((DOCUMENTS / f"{name}.json").read_bytes()) for name in service.discovery.split()]
    assert {document["rootUrl"] for document in documents} == {f"https://{service.name}/"}
    assert service.name in service.hosts


def test_every_permission_that_is_asked_for_is_in_some_role() -> None:
    granted = set().union(*PERMISSIONS.values())
    asked = {each.permission for service in SERVICES for each in service.methods if not isinstance(each.permission, PUBLIC)}
    assert asked <= granted


def test_methods_outside_the_documents_say_where_they_are_known_from() -> None:
    for service in SERVICES:
        for each in service.methods:
            assert each.undocumented or service.discovery, f"{each.id} is in no discovery document"
