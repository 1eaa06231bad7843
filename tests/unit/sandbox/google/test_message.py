# SPDX-License-Identifier: Apache-2.0
import asyncio
import json
from collections.abc import MutableMapping
from typing import Any

import pytest

from podpass.sandbox.google.message import Answer, Fault, Query, Request, google_fault, read_request


@pytest.mark.parametrize(
    ("text", "flag"), [("x=True", True), ("x=true", True), ("x=1", True), ("x=False", False), ("x=", False), ("", False)]
)
def test_a_boolean_may_be_spelled_as_gcloud_does(text: str, flag: bool) -> None:  # noqa: FBT001 - the table's column
    assert Query(text).flag("x") is flag


def test_the_first_value_counts() -> None:
    query = Query("a=1&a=2&b=%2F&c")
    assert dict(query) == {"a": "1", "b": "/", "c": ""}
    assert len(query) == 3


def test_a_page_has_a_limit_and_a_default() -> None:
    assert [Query(text).number("pageSize", 50, 100) for text in ("", "pageSize=0", "pageSize=7", "pageSize=1000")] == [50, 50, 7, 100]
    with pytest.raises(Fault, match="Invalid value for pageSize: 'x'"):
        Query("pageSize=x").number("pageSize", 50, 100)


def test_a_fault_is_rendered_as_google_s_error_model() -> None:
    fault = Fault(403, "PERMISSION_DENIED", "no", reason="R", metadata={"a": "b"}, details=({"@type": "t"},), headers={"x-y": "z"})
    answer = google_fault(fault, Request("GET", "h", "/"))
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "R", "domain": "googleapis.com", "metadata": {"a": "b"}}
    assert json.loads(answer.body) == {
        "error": {"code": 403, "message": "no", "status": "PERMISSION_DENIED", "details": [info, {"@type": "t"}]}
    }
    assert (answer.status, answer.headers["x-y"]) == (403, "z")


def test_a_request_is_read_as_it_came() -> None:
    chunks: list[MutableMapping[str, Any]] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.request", "body": b"b"},
    ]

    async def receive() -> MutableMapping[str, Any]:
        return chunks.pop(0)

    scope: MutableMapping[str, Any] = {
        "method": "PUT",
        "raw_path": b"/b/x%2Fy?upload_id=1",
        "query_string": b"upload_id=1",
        "scheme": "https",
        "headers": [(b"host", b"Storage.googleapis.com:443"), (b"x", b"\xe9")],
    }
    request = asyncio.run(read_request(scope, receive))
    assert (request.verb, request.host, request.path, request.query) == ("PUT", "storage.googleapis.com", "/b/x%2Fy", "upload_id=1")
    assert (request.body, request.headers["x"]) == (b"ab", "é")


def test_an_answer_to_head_has_the_length_and_no_body() -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(Answer(200, b"four").send(send, bodiless=True))
    assert sent[0]["headers"] == [(b"content-length", b"4")]
    assert sent[1]["body"] == b""
