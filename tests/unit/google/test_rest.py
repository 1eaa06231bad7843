# SPDX-License-Identifier: Apache-2.0
"""What is repeated, what is not, for how long; and that no token is seen."""

import gzip
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
import pytest

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.google.connections import LIMIT_ANSWER_BYTES, new_http
from podpass.google.fault import FaultKind, GoogleRefusedError, GoogleUnavailableError
from podpass.google.rest import Request, segment
from unit.google.recorded import TOKEN, google, refusal

GET = Request("GET", "iam", "/v1/x", "look at x")
POST = Request("POST", "iam", "/v1/x", "make x", body={"a": 1})
READING_POST = Request("POST", "iam", "/v1/x:getIamPolicy", "read the policy of x", is_repeatable=True)
BUSY = refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")
DOWN = refusal(503, "UNAVAILABLE", "The service is currently unavailable.")
BROKEN = httpx2.ReadError("connection reset")
UNSENT = httpx2.ConnectError("connection refused")


def test_an_answer_comes_back_as_it_is() -> None:
    there = google({"name": "x"})
    assert there.client().call(Request("GET", "iam", "/v1/x", "look at x", query={"updateMask": "a,b"})) == {"name": "x"}
    assert there.lines == ["GET iam.googleapis.com/v1/x?updateMask=a%2Cb"]
    assert there.asked[0].headers["authorization"] == f"Bearer {TOKEN}0"
    assert there.asked[0].headers["x-goog-user-project"] == "billed-project"


def test_an_empty_answer_is_an_empty_object() -> None:
    assert google(httpx2.Response(204)).client().call(GET) == {}


@pytest.mark.parametrize("request_", [GET, READING_POST, Request("DELETE", "iam", "/v1/x", "delete x")])
@pytest.mark.parametrize("first", [BUSY, DOWN, BROKEN, UNSENT], ids=["429", "503", "broken", "unsent"])
def test_what_may_be_made_twice_is_repeated(request_: Request, first: httpx2.Response | Exception) -> None:
    there = google(first, {"done": True})
    assert there.client().call(request_) == {"done": True}
    assert len(there.asked) == 2


@pytest.mark.parametrize("first", [BUSY, UNSENT], ids=["429", "unsent"])
def test_a_creation_is_repeated_only_where_nothing_was_done(first: httpx2.Response | Exception) -> None:
    assert google(first, {"done": True}).client().call(POST) == {"done": True}


@pytest.mark.parametrize("first", [DOWN, BROKEN], ids=["503", "broken"])
def test_a_creation_that_may_have_been_done_is_not_repeated(first: httpx2.Response | Exception) -> None:
    there = google(first, {"done": True})
    with pytest.raises(UnreachableError):
        there.client().call(POST)
    assert len(there.asked) == 1


def test_pauses_double_up_to_a_ceiling_and_stop_before_the_deadline() -> None:
    there = google(DOWN)
    with pytest.raises(GoogleUnavailableError) as caught:
        there.client(within=60).call(GET)
    assert there.time.slept == [0.5, 1, 2, 4, 8, 16, 16]
    assert there.time.now <= 60
    assert str(caught.value) == (
        "Google could not look at x (503 UNAVAILABLE). It said so 8 times: The service is currently unavailable. "
        "Wait some minutes and run the command again; it continues where it stopped."
    )
    assert caught.value.retryable


def test_jitter_takes_away_half_of_a_pause_at_most() -> None:
    there = google(DOWN, {})
    pacing = there.time.pacing()
    quick = type(pacing)(sleep=there.time.sleep, monotonic=pacing.monotonic, jitter=lambda: 0.0)
    client = there.client()
    client.pacing = quick
    client.call(GET)
    assert there.time.slept == [0.25]


def test_google_says_how_long_to_wait() -> None:
    busy = refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")
    busy.headers["retry-after"] = "7"
    there = google(busy, {})
    there.client().call(GET)
    assert there.time.slept == [7]


def test_who_asks_for_more_patience_than_there_is_gets_none() -> None:
    busy = refusal(429, "RESOURCE_EXHAUSTED", "Quota exceeded.")
    busy.headers["retry-after"] = "3600"
    there = google(busy, {})
    with pytest.raises(GoogleUnavailableError):
        there.client().call(GET)
    assert there.time.slept == []


def test_a_refused_token_is_renewed_once() -> None:
    refused = refusal(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
    there = google(refused, {"done": True})
    assert there.client().call(POST) == {"done": True}
    assert [request.headers["authorization"][-1] for request in there.asked] == ["0", "1"]
    again = google(refused)
    with pytest.raises(GoogleRefusedError, match="Log in again: `gcloud auth application-default login`"):
        again.client().call(GET)
    assert len(again.asked) == 2


@pytest.mark.parametrize("code", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(code: int) -> None:
    there = google(httpx2.Response(code, headers={"location": "https://elsewhere.example/"}))
    with pytest.raises(UnexpectedAnswerError, match="was answered with a redirect"):
        there.client().call(GET)
    assert len(there.asked) == 1


@pytest.mark.parametrize("content", [b"<html>", b"[]", b'"x"'])
def test_an_answer_that_is_no_object_is_told(content: bytes) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"Google's answer to the request to look at x is not a JSON object\."):
        google(httpx2.Response(200, content=content)).client().call(GET)


def test_what_is_not_there_is_none() -> None:
    missing = refusal(404, "NOT_FOUND", "Requested entity was not found.")
    assert google(missing).client().find(GET) is None
    assert google(missing).client().find_content(GET) is None
    with pytest.raises(GoogleRefusedError) as caught:
        google(missing).client().call(GET)
    assert caught.value.kind is FaultKind.NOT_FOUND


def test_no_answer_names_the_host_and_what_was_wanted() -> None:
    with pytest.raises(UnreachableError) as caught:
        google(UNSENT).client(within=1).call(GET)
    assert str(caught.value) == (
        "iam.googleapis.com gave no answer after 2 tries when asked to look at x. connection refused. "
        "Check the network and HTTPS_PROXY, then run the command again."
    )


def test_a_foreign_certificate_has_a_cure_of_its_own() -> None:
    error = httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate")
    with pytest.raises(UnreachableError, match="name the CA of your proxy in SSL_CERT_FILE"):
        google(error).client(within=0).call(GET)


def test_a_name_is_one_segment_of_a_path() -> None:
    assert segment(".well-known/openid configuration") == ".well-known%2Fopenid%20configuration"
    assert segment("a@demo-project.iam.gserviceaccount.com") == "a@demo-project.iam.gserviceaccount.com"


def test_invariant_4_a_token_is_in_no_error_log_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="podpass")
    echo = refusal(400, "INVALID_ARGUMENT", f"Bad header Authorization: Bearer {TOKEN}0", {"token": TOKEN})
    there = google({}, echo)
    client = there.client()
    client.call(GET)
    with pytest.raises(GoogleRefusedError) as caught:
        client.call(GET)
    seen = [str(caught.value), repr(caught.value), repr(client), caplog.text]
    assert [text for text in seen if TOKEN in text] == []
    assert "GET iam/v1/x -> 200" in caplog.text


def test_connections_are_pooled_and_bounded() -> None:
    with new_http() as http:
        assert not http.follow_redirects
        assert http.headers["user-agent"].startswith("podpass/")
        assert http.timeout.connect == 5.0


@contextmanager
def server(body: bytes, encoding: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-encoding", encoding)
            self.end_headers()
            try:
                self.wfile.write(body)
            except OSError:  # the client has heard enough
                return

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


def test_an_answer_is_read_up_to_the_limit() -> None:
    with new_http() as http, server(b"x" * LIMIT_ANSWER_BYTES, "identity") as url:
        assert len(http.get(url).content) == LIMIT_ANSWER_BYTES


def test_an_answer_beyond_the_limit_is_not_kept() -> None:
    with (
        new_http() as http,
        server(b"x" * (LIMIT_ANSWER_BYTES + 1), "identity") as url,
        pytest.raises(UnexpectedAnswerError, match="is too large"),
    ):
        http.get(url)


def test_an_answer_is_never_unpacked() -> None:
    with new_http() as http, server(gzip.compress(b"x" * 1024), "gzip") as url:
        assert http.headers["accept-encoding"] == "identity"
        with pytest.raises(UnexpectedAnswerError, match="is compressed, although podpass asked for plain bytes"):
            http.get(url)
