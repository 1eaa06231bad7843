# SPDX-License-Identifier: Apache-2.0
import http.client
import socket
import ssl
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from podpass.sandbox.hosting import HostedSandbox


def dial(side: HostedSandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(side.environment()["HTTPS_PROXY"]).port or 0), timeout=30)


def say(side: HostedSandbox, head: str) -> tuple[str, str]:
    """Send a head to the proxy; return its status line and the body."""
    with closing(dial(side)) as client:
        client.sendall(head.encode() + b"\r\n\r\n")
        answer = b"".join(iter(lambda: client.recv(4096), b"")).decode()
    return answer.partition("\r\n")[0], answer.partition("\r\n\r\n")[2]


def tunnel(side: HostedSandbox, connect: str, sni: str | None) -> http.client.HTTPResponse:
    return request(side, connect, sni, connect)


def request(side: HostedSandbox, connect: str, sni: str | None, host: str) -> http.client.HTTPResponse:
    """Ask for `/` through a tunnel, naming a host in each of the three places."""
    client = dial(side)
    client.sendall(f"CONNECT {connect}:443 HTTP/1.1\r\nHost: {connect}:443\r\n\r\n".encode())
    assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
    context = ssl.create_default_context(cafile=side.environment()["SSL_CERT_FILE"])
    context.check_hostname = False
    secured = context.wrap_socket(client, server_hostname=sni)
    secured.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    response = http.client.HTTPResponse(secured)
    response.begin()
    response.read()
    secured.close()
    return response


@pytest.mark.parametrize(
    "target", ["example.com:443", "10.0.0.1:443", "googleapis.com.example:443", "iam.googleapis.com:80", "[2001:db8::1]:443"]
)
def test_nothing_leaves_the_machine(google_side: HostedSandbox, target: str) -> None:
    status, body = say(google_side, f"CONNECT {target} HTTP/1.1\r\nHost: {target}")
    sentence = f"{target} is outside the sandbox, and nothing leaves this machine."
    assert status == f"HTTP/1.1 403 {sentence}"
    assert body == f"{sentence}\n"
    last = google_side.requests()[-1]
    assert (last["verb"], last["host"], last["status"], last["method"]) == ("CONNECT", target, 403, None)


def test_plain_http_goes_nowhere_either(google_side: HostedSandbox) -> None:
    status, _ = say(google_side, "GET http://metadata.google.internal/computeMetadata/v1/ HTTP/1.1\r\nHost: metadata.google.internal")
    assert status.startswith("HTTP/1.1 403 http://metadata.google.internal is outside the sandbox, and nothing leaves this machine.")


@pytest.mark.parametrize("target", ["127.0.0.1:6443", "localhost:443", "[::1]:443"])
def test_this_machine_needs_no_proxy(google_side: HostedSandbox, target: str) -> None:
    assert say(google_side, f"CONNECT {target} HTTP/1.1")[0] == (
        f"HTTP/1.1 403 {target} is on this machine and needs no proxy: set NO_PROXY=127.0.0.1,localhost."
    )


@pytest.mark.parametrize(
    "head", ["CONNECT iam.googleapis.com HTTP/1.1", "CONNECT a b:443 HTTP/1.1", "CONNECT  HTTP/1.1", "GET / HTTP/1.1", "\x00"]
)
def test_what_is_no_request_to_a_proxy_is_told_so(google_side: HostedSandbox, head: str) -> None:
    assert say(google_side, head)[0].startswith("HTTP/1.1 400 This is ")


def test_a_head_without_end_is_not_waited_for(google_side: HostedSandbox) -> None:
    with closing(dial(google_side)) as client:
        client.sendall(b"CONNECT " + b"x" * 20_000)
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")


def test_the_three_names_of_a_request_must_agree(google_side: HostedSandbox) -> None:
    iam, sts = "iam.googleapis.com", "sts.googleapis.com"
    assert request(google_side, iam, iam, iam).status == 501
    assert request(google_side, iam, iam.upper(), f"{iam.upper()}:443").status == 501
    for connect, sni, host in (
        (iam, sts, sts),
        (iam, iam, sts),
        (iam, sts, iam),
        (iam, None, iam),
        (iam, iam, f"{iam}:80"),
        (iam, iam, ""),
        (iam, iam, f"{iam}\r\nHost: {sts}"),
        (iam, iam, f"{sts}\r\nHost: {iam}"),
        (iam, iam, f"{iam}\r\nHost: {iam}"),
    ):
        assert request(google_side, connect, sni, host).status == 421, (connect, sni, host)
    assert google_side.requests()[-1]["status"] == 421


def test_a_client_that_does_not_trust_the_authority_is_let_go(google_side: HostedSandbox) -> None:
    with closing(dial(google_side)) as client:
        client.sendall(b"CONNECT iam.googleapis.com:443 HTTP/1.1\r\n\r\n")
        client.recv(4096)
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(client, server_hostname="iam.googleapis.com")
    assert tunnel(google_side, "iam.googleapis.com", "iam.googleapis.com").status == 501


def test_a_client_that_goes_away_in_the_handshake_leaves_nothing_behind(google_side: HostedSandbox) -> None:
    with closing(dial(google_side)) as client:
        client.sendall(b"CONNECT iam.googleapis.com:443 HTTP/1.1\r\n\r\n")
        client.recv(4096)
        client.sendall(b"\x16\x03\x01")
    assert tunnel(google_side, "iam.googleapis.com", "iam.googleapis.com").status == 501
