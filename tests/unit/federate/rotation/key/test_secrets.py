# SPDX-License-Identifier: Apache-2.0
"""Tokens in Secrets, told by the key that signed them, page by page."""

import base64
import json
from typing import Any

from podpass.federate.rotation.key.secrets import lasting_tokens
from podpass.verify.base64url import encode
from unit.kube.api_server import cluster, status


def secret(name: str, kid: str, kind: str = "kubernetes.io/service-account-token") -> dict[str, Any]:
    header = encode(json.dumps({"alg": "RS256", "kid": kid}).encode())
    token = f"{header}.{encode(b'{}')}.{encode(bytes(256))}"
    return {"metadata": {"namespace": "shop", "name": name}, "type": kind, "data": {"token": base64.b64encode(token.encode()).decode()}}


def test_the_tokens_of_a_key_are_found_on_every_page_and_others_are_not() -> None:
    first = {"metadata": {"continue": "more"}, "items": [secret("b", "old"), secret("new", "new"), {"metadata": {"name": "empty"}}]}
    there = cluster(first, {"metadata": {}, "items": [secret("a", "old"), secret("other", "old", "Opaque")]})
    assert lasting_tokens(there.client(), {"old"}) == ["shop/a", "shop/b"]
    where = "GET /api/v1/secrets?limit=500&fieldSelector=type%3Dkubernetes.io%2Fservice-account-token"
    assert there.lines == [where, f"{where}&continue=more"]


def test_who_may_not_list_them_is_told_so() -> None:
    assert lasting_tokens(cluster(status(403, "Forbidden", "secrets is forbidden")).client(), {"old"}) is None
