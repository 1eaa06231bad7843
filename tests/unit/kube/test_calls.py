# SPDX-License-Identifier: Apache-2.0
"""Each call's request and answer, with compare-and-swap for config maps."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from podpass.errors import UnexpectedAnswerError
from podpass.kube import config_maps, issuer, objects, reviews, tokens
from podpass.kube.config_maps import ConfigMap
from podpass.kube.reviews import Access
from podpass.names import ServiceAccountRef
from unit.kube.api_server import cluster, status

MISSING = status(404, "NotFound", "not found")
TAKEN = status(409, "AlreadyExists", "already exists")
STORED: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {
        "name": "receipt",
        "namespace": "podpass-system",
        "uid": "u-1",
        "resourceVersion": "7",
        "annotations": {"a": "b"},
        "ownerReferences": [{"name": "o"}],
        "managedFields": [{}],
    },
    "data": {"key": "old"},
    "binaryData": {"x": "eA=="},
}
ACCOUNT = ServiceAccountRef("default", "app")


def test_a_replacement_carries_its_version_and_everything_foreign() -> None:
    there = cluster(STORED)
    client = there.client()
    found = config_maps.get_config_map(client, "podpass-system", "receipt")
    assert found is not None
    config_maps.replace_config_map(client, found.with_data({"key": "new"}))
    assert there.lines[1] == "PUT /api/v1/namespaces/podpass-system/configmaps/receipt"
    assert there.bodies[1] == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "receipt",
            "namespace": "podpass-system",
            "uid": "u-1",
            "resourceVersion": "7",
            "annotations": {"a": "b"},
            "ownerReferences": [{"name": "o"}],
        },
        "data": {"key": "new"},
        "binaryData": {"x": "eA=="},
    }


def test_what_was_not_read_is_not_replaced() -> None:
    with pytest.raises(ValueError, match="was not read"):
        config_maps.replace_config_map(cluster({}).client(), ConfigMap("a", "b"))


def test_a_new_config_map_names_no_version() -> None:
    there = cluster(STORED)
    made = config_maps.create_config_map(
        there.client(), ConfigMap("podpass-system", "receipt", {"key": "x"}, resource_version="9", uid="u")
    )
    assert there.bodies[0]["metadata"] == {"name": "receipt", "namespace": "podpass-system"}
    assert made.resource_version == "7"


def test_a_deletion_is_of_the_version_that_was_read() -> None:
    there = cluster({"kind": "Status", "status": "Success"})
    assert config_maps.delete_config_map(there.client(), ConfigMap.from_json(STORED))
    assert there.bodies[0]["preconditions"] == {"uid": "u-1", "resourceVersion": "7"}
    assert not config_maps.delete_config_map(cluster(MISSING).client(), ConfigMap.from_json(STORED))


def test_a_config_map_without_a_version_is_not_trusted() -> None:
    with pytest.raises(UnexpectedAnswerError, match="without a name or a resourceVersion"):
        config_maps.get_config_map(cluster({"metadata": {"name": "x"}}).client(), "a", "x")


def test_what_is_there_is_left_as_it_is() -> None:
    there = cluster({"metadata": {"name": "x", "uid": "u"}})
    assert not objects.ensure_namespace(there.client(), "x")
    assert not objects.ensure_service_account(there.client(), ACCOUNT)
    assert [line.partition(" ")[0] for line in there.lines] == ["GET", "GET"]


def test_what_is_missing_is_made_even_if_somebody_is_faster() -> None:
    there = cluster(MISSING, {"metadata": {"name": "x", "uid": "u"}})
    assert objects.ensure_service_account(there.client(), ACCOUNT, annotations={"a": "b"})
    assert there.lines[1] == "POST /api/v1/namespaces/default/serviceaccounts"
    assert there.bodies[1]["metadata"] == {"name": "app", "namespace": "default", "annotations": {"a": "b"}}
    assert not objects.ensure_namespace(cluster(MISSING, TAKEN).client(), "x")


def test_a_thing_is_known_by_its_uid() -> None:
    thing = objects.get_namespace(cluster({"metadata": {"name": "kube-system", "uid": "u", "labels": {"a": "b"}}}).client(), "kube-system")
    assert thing == objects.Thing("kube-system", "u", {}, {"a": "b"})
    assert objects.get_service_account(cluster(MISSING).client(), ACCOUNT) is None
    with pytest.raises(UnexpectedAnswerError, match="without a uid"):
        objects.get_namespace(cluster({"metadata": {}}).client(), "x")


def test_a_namespace_is_deleted_by_its_uid() -> None:
    there = cluster({})
    assert objects.delete_namespace(there.client(), "podpass-system", uid="u-1")
    assert there.bodies[0]["preconditions"] == {"uid": "u-1"}


def test_a_token_is_asked_for_an_audience_and_a_time() -> None:
    there = cluster({"status": {"token": "eyJ.not.shown", "expirationTimestamp": "2026-11-01T12:10:00Z"}})
    token = tokens.request_token(there.client(), ACCOUNT, audiences=["//iam.googleapis.com/x"], expiration=timedelta(minutes=10))
    assert token.value.reveal() == "eyJ.not.shown"
    assert token.expires_at == datetime(2026, 11, 1, 12, 10, tzinfo=UTC)
    assert "not.shown" not in repr(token)
    assert there.lines == ["POST /api/v1/namespaces/default/serviceaccounts/app/token"]
    assert there.bodies[0]["spec"] == {"audiences": ["//iam.googleapis.com/x"], "expirationSeconds": 600}


@pytest.mark.parametrize("answer", [{}, {"status": {"token": ""}}, {"status": {"token": "t"}}, {"status": 5}])
def test_a_token_request_without_a_token_is_told(answer: dict[str, Any]) -> None:
    with pytest.raises(UnexpectedAnswerError, match="has no token or no expirationTimestamp"):
        tokens.request_token(cluster(answer).client(), ACCOUNT)


def test_a_token_without_an_end_is_told() -> None:
    with pytest.raises(UnexpectedAnswerError, match="has an expirationTimestamp that is no time"):
        tokens.request_token(cluster({"status": {"token": "t", "expirationTimestamp": "soon"}}).client(), ACCOUNT)


def test_an_answer_that_is_nested_without_end_is_told() -> None:
    with pytest.raises(UnexpectedAnswerError, match="is not a JSON object"):
        tokens.request_token(cluster(httpx2.Response(200, content=b"[" * 100_000)).client(), ACCOUNT)


def test_the_server_tells_its_issuer_and_its_keys_as_they_are() -> None:
    raw = b'{"issuer":"https://kubernetes.default.svc","jwks_uri":"https://10.0.0.1/openid/v1/jwks"}\n'
    found = issuer.get_discovery(cluster(httpx2.Response(200, content=raw)).client())
    assert found == issuer.Discovery("https://kubernetes.default.svc", "https://10.0.0.1/openid/v1/jwks", raw)
    assert issuer.get_jwks(cluster(httpx2.Response(200, content=b'{"keys":[]}')).client()) == b'{"keys":[]}'
    assert issuer.get_discovery(cluster(MISSING).client()) is None


@pytest.mark.parametrize("content", [b"<html>", b"[]", b"{}"])
def test_a_discovery_document_without_an_issuer_is_told(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswerError, match="names no issuer"):
        issuer.get_discovery(cluster(httpx2.Response(200, content=content)).client())


def test_documents_have_a_size() -> None:
    with pytest.raises(UnexpectedAnswerError, match="262144 are read at most"):
        issuer.get_jwks(cluster(httpx2.Response(200, content=b" " * 262_145)).client())


def test_something_else_than_kubernetes_is_told() -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"has no gitVersion\. Check that the context names a Kubernetes API server"):
        issuer.get_version(cluster({"version": "1"}).client())


def test_the_operator_can_ask_what_it_may() -> None:
    there = cluster({"status": {"allowed": True}})
    client = there.client()
    assert reviews.may(client, Access("create", "serviceaccounts", "token", namespace="default"))
    assert reviews.may(client, Access("get", path="/openid/v1/jwks"))
    assert there.bodies[0]["spec"] == {
        "resourceAttributes": {"verb": "create", "resource": "serviceaccounts", "subresource": "token", "namespace": "default"}
    }
    assert there.bodies[1]["spec"] == {"nonResourceAttributes": {"verb": "get", "path": "/openid/v1/jwks"}}
    assert not reviews.may(cluster({"status": {"allowed": "true"}}).client(), Access("get", "nodes"))


def test_an_access_reads_as_words() -> None:
    assert str(Access("create", "serviceaccounts", "token", namespace="default")) == "create serviceaccounts/token in namespace default"
    assert str(Access("get", path="/version")) == "get /version"


def test_a_list_is_read_page_by_page() -> None:
    def page(name: str, after: str = "") -> dict[str, Any]:
        return {"metadata": {"continue": after}, "items": [{"metadata": {"name": name, "uid": f"u-{name}"}}]}

    there = cluster(page("a", "x y"), page("b"))
    assert set(objects.list_service_accounts(there.client(), "default")) == {"a", "b"}
    path = "GET /api/v1/namespaces/default/serviceaccounts"
    assert there.lines == [f"{path}?limit=500", f"{path}?limit=500&continue=x+y"]


def test_a_list_that_does_not_end_or_is_none_is_refused() -> None:
    with pytest.raises(UnexpectedAnswerError, match="does not end"):
        objects.list_namespaces(cluster({"metadata": {"continue": "x"}, "items": []}).client())
    with pytest.raises(UnexpectedAnswerError, match="no list of objects"):
        config_maps.list_config_maps(cluster({"items": ["x"]}).client(), "default")
