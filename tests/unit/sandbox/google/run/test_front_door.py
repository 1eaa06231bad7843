# SPDX-License-Identifier: Apache-2.0
"""The front door over TLS: its own answers, what it passes on both ways, and what is tried against it."""

import re
import socket
import ssl
from urllib.parse import urlsplit

import httpx2
import pytest

from unit.sandbox.google.run.running import Running

CHALLENGE = 'Bearer error="invalid_token" error_description="The access token could not be verified"'


def raw(run: Running, name: str, head: str, *, connect: str = "", sni: str = "", body: bytes = b"") -> bytes:
    """Send bytes through a tunnel; return everything that comes until the end."""
    host = urlsplit(run.url(name)).netloc
    environment = run.side.environment()
    with socket.create_connection(("127.0.0.1", urlsplit(environment["HTTPS_PROXY"]).port or 0), timeout=60) as client:
        client.sendall(f"CONNECT {connect or host}:443 HTTP/1.1\r\n\r\n".encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        context = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        context.check_hostname = False
        with context.wrap_socket(client, server_hostname=sni or host) as secured:
            secured.sendall(head.replace("HOST", host).replace("\n", "\r\n").encode() + b"\r\n\r\n" + body)
            return b"".join(iter(lambda: secured.recv(4096), b""))


@pytest.mark.parametrize(
    ("headers", "status", "title", "sentence"),
    [
        ({}, 403, "Forbidden", "Your client does not have permission to get URL <code>/a&amp;b</code> from this server."),
        (
            {"Authorization": "Bearer junk"},
            401,
            "Unauthorized",
            "Your client does not have permission to the requested URL <code>/a&amp;b</code>.",
        ),
    ],
)
def test_a_refusal_is_cloud_run_s_own_page(run: Running, headers: dict[str, str], status: int, title: str, sentence: str) -> None:
    answer = run.client.get(run.url("closed") + "/a&b", headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=UTF-8")
    assert f"<title>{status} {title}</title>" in answer.text
    assert f"<h1>Error: {title}</h1>\n<h2>{sentence}</h2>" in answer.text
    assert answer.headers.get("www-authenticate") == (CHALLENGE if status == 401 else None)
    assert run.client.head(run.url("closed"), headers=headers).status_code == status


def test_a_host_that_no_service_has_is_404(run: Running) -> None:
    answer = run.client.get("https://nobody-3bn4pjeuhv-uc.a.run.app/x")
    assert answer.status_code == 404
    assert "<h1>Error: Page not found</h1>\n<h2>The requested URL <code>/x</code> was not found on this server.</h2>" in answer.text


def test_a_service_answers_at_both_of_its_urls(run: Running) -> None:
    hashed = run.url("echo")
    assert re.fullmatch(r"https://echo-[a-z2-7]{10}-uc\.a\.run\.app", hashed)
    for url in (hashed, "https://echo-415104041262.us-central1.run.app"):
        seen = dict(run.client.get(url).json()["headers"])
        assert seen["host"] == urlsplit(url).netloc


def test_a_request_reaches_the_container_as_it_was_sent(run: Running) -> None:
    target = "/a/../b//%2e%2F?x=1&x=%20&y"
    seen = run.client.build_request("POST", run.url("echo"), content=b"some", headers={"X-Own": "v"})
    seen.extensions["target"] = target.encode()
    told = run.client.send(seen).json()
    assert (told["verb"], told["target"], told["body"]) == ("POST", target, "some")
    assert ["x-own", "v"] in told["headers"]


def test_a_header_that_ends_in_white_space_is_passed_on_without_it(run: Running) -> None:
    """As curl sends `Authorization: Bearer $TOKEN` where there is no token."""
    answer = raw(run, "echo", "GET / HTTP/1.1\nHost: HOST\nX-Own: Bearer \nConnection: close")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'["x-own", "Bearer"]' in answer


def test_a_request_body_without_length_is_passed_on(run: Running) -> None:
    told = run.echo("echo", method="PUT", content=iter([b"in ", b"parts"]))
    assert told["body"] == "in parts"


def test_the_container_learns_who_came_and_nobody_can_pretend(run: Running) -> None:
    spoofed = {"X-Forwarded-For": "8.8.8.8", "X-Forwarded-Proto": "http", "Forwarded": "for=8.8.8.8;proto=http"}
    seen = [(name.lower(), value) for name, value in run.echo("echo", headers=spoofed)["headers"]]
    assert [value for name, value in seen if name == "x-forwarded-for"] == ["8.8.8.8, 127.0.0.1"]
    assert [value for name, value in seen if name == "x-forwarded-proto"] == ["https"]
    assert [value for name, value in seen if name == "forwarded"] == ['for="127.0.0.1";proto=https']


def test_what_concerns_one_connection_ends_there(run: Running) -> None:
    hop = {"Connection": "close, X-Drop, X-Forwarded-For, Host", "X-Drop": "1", "TE": "trailers", "Proxy-Authorization": "Basic eDp5"}
    seen = {name.lower() for name, _ in run.echo("echo", headers={**hop, "Upgrade": "h2c", "X-Kept": "1"})["headers"]}
    assert seen.isdisjoint({"x-drop", "te", "proxy-authorization", "upgrade", "keep-alive"})
    assert {"x-kept", "x-forwarded-for", "host"} <= seen


def test_an_answer_comes_back_as_it_was_given(run: Running) -> None:
    answer = run.client.get(run.url("echo") + "/refuse")
    assert (answer.status_code, answer.headers.get_list("set-cookie")) == (418, ["a=1", "b=2"])
    assert "x-secret" not in answer.headers
    head = run.client.head(run.url("echo"))
    assert (head.status_code, head.content) == (200, b"")


def test_an_answer_streams_and_ends_when_the_caller_goes(run: Running) -> None:
    with run.client.stream("GET", run.url("echo") + "/stream") as answer:
        lines = answer.iter_lines()
        assert next(lines) == "one"
        run.echo("echo", "/go-on")
        assert next(lines) == "two"
    assert run.echo("echo", "/went") == {"went": True}


def test_the_log_of_requests_names_the_caller_and_holds_no_token(run: Running) -> None:
    run.client.get(run.url("closed") + "/noted", headers={"Authorization": "Bearer junk"})
    last = run.side.requests()[-1]
    assert (last["method"], last["path"], last["status"], last["caller"]) == ("run.routes.invoke", "/noted", 401, "anonymous")
    assert "junk" not in str(last)


@pytest.mark.parametrize(
    ("connect", "sni", "host"),
    [
        ("echo", "closed", "closed"),
        ("echo", "echo", "closed"),
        ("closed", "closed", "echo"),
        ("echo", "echo", "echo\nHost: closed"),
        ("echo", "echo", "echo, closed"),
    ],
)
def test_a_closed_service_is_not_reached_by_another_one_s_name(run: Running, connect: str, sni: str, host: str) -> None:
    names = {name: urlsplit(run.url(name)).netloc for name in ("echo", "closed")}
    told = re.sub("echo|closed", lambda found: names[found[0]], host)
    answer = raw(run, "echo", f"GET / HTTP/1.1\nHost: {told}\nConnection: close", connect=names[connect], sni=names[sni])
    assert answer.startswith((b"HTTP/1.1 421 ", b"HTTP/1.1 400 ")), answer[:200]


def test_a_target_with_another_host_does_not_lead_there(run: Running) -> None:
    answer = raw(run, "echo", f"GET {run.url('closed')}/ HTTP/1.1\nHost: HOST\nConnection: close")
    assert not answer.startswith(b"HTTP/1.1 200 ") or b'"K_SERVICE": "echo"' in answer


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: 4\nTransfer-Encoding: chunked",
        "Content-Length: 4\nContent-Length: 5",
        "Transfer-Encoding: chunked, identity",
        "Content-Length : 4",
    ],
)
def test_a_body_with_two_lengths_smuggles_nothing(run: Running, framing: str) -> None:
    smuggled = b"0\r\n\r\nGET /crash HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = raw(run, "echo", f"POST / HTTP/1.1\nHost: HOST\nConnection: close\n{framing}", body=smuggled)
    assert answer.startswith(b"HTTP/1.1 400 "), answer[:200]


def test_both_headers_twice_and_folded_do_not_open_a_closed_service(run: Running) -> None:
    owner = owner_token(run)
    for lines in (
        f"Authorization: Bearer {owner}\nAuthorization: Bearer {owner}",
        f"Authorization: Bearer {owner}\nX-Serverless-Authorization: Bearer junk",
        f"Authorization : Bearer {owner}",
        f"X-Serverless-Authorization: Bearer junk\nX-Serverless-Authorization: Bearer {owner}",
        f"X_Serverless_Authorization: Bearer {owner}",
        f"Proxy-Authorization: Bearer {owner}",
    ):
        answer = raw(run, "closed", f"GET / HTTP/1.1\nHost: HOST\nConnection: close\n{lines}")
        assert answer[9:12] in {b"400", b"401", b"403"}, (lines[:40], answer[:80])


def test_a_judged_header_cannot_be_taken_off_or_slipped_through(run: Running) -> None:
    owner = owner_token(run)
    headers = {
        "X-Serverless-Authorization": f"Bearer {owner}",
        "Authorization": "Bearer the.service.s",
        "Connection": "x-serverless-authorization",
    }
    seen = {name.lower(): value for name, value in run.echo("closed", headers=headers)["headers"]}
    assert seen["authorization"] == "Bearer the.service.s"
    assert "x-serverless-authorization" not in seen
    alone = run.echo("closed", headers={"Authorization": f"Bearer {owner}", "Connection": "authorization"})["headers"]
    assert owner.rpartition(".")[2] not in str(alone)


def owner_token(run: Running) -> str:
    """Get an ID token as gcloud does."""
    with_file = httpx2.URL("https://oauth2.googleapis.com/token")
    credentials = run.credentials()
    answer = run.client.post(with_file, data={"grant_type": "refresh_token", **credentials}).json()
    return str(answer["id_token"])
