# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - the lines of the table are what the reader sees, whole
"""What the cluster refuses, and what is said; what is repeated; and that no credential is seen."""

import gzip
import logging
from collections.abc import Callable
from dataclasses import replace

import httpx2
import pytest

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.kube import client as clients
from podpass.kube import config_maps
from podpass.kube.client import Request
from podpass.kube.config_maps import ConfigMap
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.lists import list_objects
from unit.kube.api_server import TOKEN, cluster, kubeconfig, status

GET = Request("GET", "/api/v1/namespaces/default/configmaps/x", "read the config map default/x")
POST = Request("POST", "/api/v1/namespaces", "create the namespace x", body={"kind": "Namespace"})

REFUSALS = {
    "401": (
        status(401, "Unauthorized", "Unauthorized"),
        FaultKind.UNAUTHENTICATED,
        (
            "(401 Unauthorized). Unauthorized. The credentials of context 'admin@demo' are expired or of another cluster: log in again, or fetch "
            "the kubeconfig anew."
        ),
    ),
    "403": (
        status(
            403,
            "Forbidden",
            'configmaps "x" is forbidden: User "bob" cannot get resource "configmaps" in API group "" in the namespace "d"',
        ),
        FaultKind.FORBIDDEN,
        (
            '(403 Forbidden). configmaps "x" is forbidden: User "bob" cannot get resource "configmaps" in API group "" in the namespace "d". Ask '
            "the cluster's administrator for a role that allows it (docs/reference/operator-role.md has one), or name another context in "
            "spec.cluster.context."
        ),
    ),
    "404": (status(404, "NotFound", 'configmaps "x" not found'), FaultKind.NOT_FOUND, '(404 NotFound). configmaps "x" not found.'),
    "409 taken": (
        status(409, "AlreadyExists", 'configmaps "x" already exists'),
        FaultKind.ALREADY_EXISTS,
        '(409 AlreadyExists). configmaps "x" already exists.',
    ),
    "409 changed": (
        status(409, "Conflict", "the object has been modified"),
        FaultKind.CONFLICT,
        "(409 Conflict). the object has been modified. Somebody else changed it at the same time: run the command again.",
    ),
    "422": (status(422, "Invalid", "is invalid"), FaultKind.INVALID, "(422 Invalid). is invalid."),
    "501": (status(501, "", "not here"), FaultKind.OTHER, "(501). not here."),
    "no Status": (httpx2.Response(403, content=b"<html>"), FaultKind.FORBIDDEN, None),
}


@pytest.mark.parametrize(("response", "kind", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_a_refusal_is_understood_and_explained(response: httpx2.Response, kind: FaultKind, expected: str | None) -> None:
    there = cluster(response)
    with pytest.raises(KubeRefusedError) as caught:
        there.client().call(POST)
    assert caught.value.kind is kind
    assert len(there.asked) == 1
    if expected:
        assert str(caught.value) == f"The cluster (context 'admin@demo') refused to create the namespace x {expected}"


def test_a_path_of_the_server_is_kept() -> None:
    there = cluster({"a": 1})
    assert there.client(kubeconfig(server="https://demo.example/k8s/clusters/c-1")).call(GET) == {"a": 1}
    assert there.lines == ["GET /k8s/clusters/c-1/api/v1/namespaces/default/configmaps/x"]
    assert there.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize("first", [httpx2.ReadError("reset"), status(503, "", "no leader"), status(429, "TooManyRequests", "slow down")])
def test_readings_are_repeated_for_two_seconds(first: httpx2.Response | Exception) -> None:
    there = cluster(first, {})
    assert there.client().call(GET) == {}
    assert there.slept == [0.2]
    dead = cluster(first)
    with pytest.raises((UnreachableError, KubeRefusedError)):
        dead.client().call(GET)
    assert sum(dead.slept) == 2.0


@pytest.mark.parametrize("first", [httpx2.ReadError("reset"), status(503, "", "no leader")])
def test_writings_are_not_repeated(first: httpx2.Response | Exception) -> None:
    there = cluster(first)
    with pytest.raises(UnreachableError):
        there.client().call(POST)
    assert len(there.asked) == 1


@pytest.mark.parametrize("first", [httpx2.ReadError("reset"), status(503, "", "no leader")])
def test_questions_are_repeated_although_they_are_posts(first: httpx2.Response | Exception) -> None:
    assert cluster(first, {"a": 1}).client().call(replace(POST, is_question=True)) == {"a": 1}


@pytest.mark.parametrize("first", [httpx2.ReadError("reset"), status(503, "", "no leader")])
def test_deletions_by_uid_are_repeated_since_they_can_hit_nothing_else(first: httpx2.Response | Exception) -> None:
    there = cluster(first, status(404, "NotFound", "done by the first one, whose answer was lost"))
    assert not config_maps.delete_config_map(there.client(), ConfigMap("a", "b", resource_version="7", uid="u"))
    assert len(there.asked) == 2
    by_name = cluster(first)
    with pytest.raises(UnreachableError):
        config_maps.delete_config_map(by_name.client(), ConfigMap("a", "b"))
    assert len(by_name.asked) == 1


@pytest.mark.parametrize(("asked", "waited"), [("", 0.2), ("1", 1.0), ("3600", 10.0), ("Fri, 01 Jan 2027 00:00:00 GMT", 0.2)])
def test_a_busy_server_is_asked_again_when_it_says_so_whatever_is_asked(asked: str, waited: float) -> None:
    busy = status(429, "TooManyRequests", "slow down")
    busy.headers.update({"retry-after": asked} if asked else {})
    there = cluster(busy, {"a": 1})
    assert there.client().call(POST) == {"a": 1}
    assert there.slept == [waited]


def test_a_server_that_stays_busy_is_told_from_one_that_refuses() -> None:
    with pytest.raises(KubeRefusedError) as caught:
        cluster(status(429, "TooManyRequests", "slow down")).client().call(POST)
    assert caught.value.full_code == "neighbour.kubernetes-busy"
    assert str(caught.value).endswith("(429 TooManyRequests). slow down. Wait a moment and run the command again.")


def test_what_is_not_there_is_none() -> None:
    assert cluster(REFUSALS["404"][0]).client().find(GET) is None
    with pytest.raises(KubeRefusedError):
        cluster(REFUSALS["403"][0]).client().find(GET)


def test_a_dead_cluster_is_named_with_its_context() -> None:
    with pytest.raises(UnreachableError) as caught:
        cluster(httpx2.ConnectError("[Errno 111] Connection refused")).client().call(GET)
    assert str(caught.value) == (
        "The cluster https://demo.example:6443 (context 'admin@demo') gave no answer when asked to read the config map default/x. "
        "[Errno 111] Connection refused. Check that it runs and that this machine reaches it: `kubectl cluster-info`."
    )


def test_an_ill_server_is_not_called_unreachable_without_its_words() -> None:
    with pytest.raises(UnreachableError, match=r"could not create the namespace x \(500\)\. etcdserver: request timed out"):
        cluster(status(500, "InternalError", "etcdserver: request timed out")).client().call(POST)


def test_a_redirect_is_not_followed() -> None:
    there = cluster(httpx2.Response(302, headers={"location": "https://login.example/"}))
    with pytest.raises(UnexpectedAnswerError, match="API servers do not redirect"):
        there.client().call(GET)
    assert len(there.asked) == 1


@pytest.mark.parametrize("content", [b"<html>", b"[]", b""])
def test_an_answer_that_is_no_object_is_told(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"is not a JSON object\. .* sent \d+ bytes of something else"):
        cluster(httpx2.Response(200, content=content)).client().call(GET)


def test_a_missing_token_file_is_told_at_once() -> None:
    there = cluster({})
    with pytest.raises(UnreachableError, match="Token file /nowhere/token not found"):
        there.client(kubeconfig({"tokenFile": "/nowhere/token"})).call(GET)
    assert there.slept == []


def test_invariant_4_a_credential_is_in_no_error_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="podpass")
    there = cluster({}, status(403, "Forbidden", f"who sends Bearer {TOKEN}?"))
    client = there.client()
    client.call(GET)
    with pytest.raises(KubeRefusedError) as caught:
        client.call(GET)
    assert [text for text in (str(caught.value), repr(caught.value), repr(client), caplog.text) if TOKEN in text] == []
    assert "-> 403" in caplog.text


def test_what_is_not_implemented_is_asked_for_once() -> None:
    there = cluster(status(501, "", "no such kind here"))
    with pytest.raises(KubeRefusedError):
        there.client().call(Request("GET", "/api/v1/x", "look"))
    assert len(there.asked) == 1
    assert there.slept == []


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_an_answer_is_read_up_to_the_limit_compressed_or_not(monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]) -> None:
    monkeypatch.setattr(clients, "LIMIT_ANSWER_BYTES", 1000)
    headers = {"content-encoding": "gzip"} if pack is gzip.compress else {}
    just = b'{"a": "' + 991 * b"x" + b'"}'
    assert len(cluster(httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(pack(just)))).client().call(GET)["a"]) == 991
    for code in (200, 403):
        there = cluster(httpx2.Response(code, headers=headers, stream=httpx2.ByteStream(pack(just + b" "))))
        with pytest.raises(clients.AnswerTooLargeError, match="too large"):
            there.client().call(GET)
        assert len(there.asked) == 1


def test_an_answer_that_is_packed_otherwise_is_refused() -> None:
    there = cluster(httpx2.Response(200, headers={"content-encoding": "gzip, gzip"}, stream=httpx2.ByteStream(b"{}")))
    with pytest.raises(UnexpectedAnswerError, match="did not ask for"):
        there.client().call(GET)
    assert there.asked[0].headers["accept-encoding"] == "gzip"


def test_a_page_that_is_too_much_is_asked_for_in_smaller_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "LIMIT_ANSWER_BYTES", 300)
    much, more, last = {"items": [{"a": 400 * "x"}]}, {"items": [{"n": 1}], "metadata": {"continue": "c"}}, {"items": [{"n": 2}]}
    there = cluster(much, more, last)
    assert [item["n"] for item in list_objects(there.client(), "/api/v1/x", "the x")] == [1, 2]
    assert there.lines == ["GET /api/v1/x?limit=500", "GET /api/v1/x?limit=50", "GET /api/v1/x?limit=50&continue=c"]
    with pytest.raises(clients.AnswerTooLargeError):
        list(list_objects(cluster(much).client(), "/api/v1/x", "the x"))
