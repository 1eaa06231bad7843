# SPDX-License-Identifier: Apache-2.0
"""What is tried against a metadata server, byte by byte at the running process: no token, no value, and always an answer."""

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import median

import pytest

from metadata_sidecar import SidecarProcess, federated, metadata_sidecar
from podpass.metadata.connection import CONNECTIONS_LIMIT, SILENCE_LIMIT_S
from token_forge import kubernetes_claims, rsa_signer

PROVIDER = "projects/123/locations/global/workloadIdentityPools/demo-pool/providers/demo-oidc"
TOP = "/computeMetadata/v1/"
EMAIL = f"{TOP}instance/service-accounts/default/email"
FLAVOR = "Metadata-Flavor: Google"


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SidecarProcess]:
    """A pod's server, which cannot reach Google; what is refused is refused before it would ask."""
    file: Path = tmp_path_factory.mktemp("pod") / "token"
    file.write_text(rsa_signer().token(kubernetes_claims()))
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    with metadata_sidecar(*federated(PROVIDER, file), environment=nowhere) as running:
        yield running


def send(sidecar: SidecarProcess, *lines: str, host: str | None = "", body: bytes = b"") -> tuple[int, bytes]:
    """Send a request, line by line; return the status and all of the answer."""
    address, _, port = sidecar.address.rpartition(":")
    host_line = [] if host is None else [f"Host: {host or sidecar.address}"]
    request = "\r\n".join([lines[0], *host_line, *lines[1:], "Connection: close", "", ""]).encode("latin-1")
    with socket.create_connection((address, int(port)), timeout=20) as connection:
        connection.sendall(request + body)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    return int(answer.split(b" ", 2)[1]), answer


def test_who_asks_as_a_client_does_is_answered(sidecar: SidecarProcess) -> None:
    status, answer = send(sidecar, f"GET {EMAIL} HTTP/1.1", FLAVOR)
    assert status == 200
    assert answer.endswith(b"\r\n\r\ndemo-pool.global.123.workload.id.goog")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        pytest.param([f"GET {EMAIL} HTTP/1.1"], 403, id="no header"),
        pytest.param([f"GET {EMAIL} HTTP/1.1", "Metadata-Flavor: Amazon"], 403, id="another header"),
        pytest.param([f"GET {EMAIL} HTTP/1.1", FLAVOR, "X-Forwarded-For: 127.0.0.1"], 403, id="forwarded"),
        pytest.param([f"GET {EMAIL} HTTP/1.1", FLAVOR, "x-forwarded-for:"], 403, id="forwarded for nobody"),
        pytest.param([f"GET {EMAIL} HTTP/1.1", FLAVOR, "Forwarded: for=127.0.0.1"], 403, id="forwarded by the standard"),
        pytest.param([f"POST {EMAIL} HTTP/1.1", FLAVOR, "Content-Length: 0"], 405, id="post"),
        pytest.param([f"PUT {EMAIL} HTTP/1.1", FLAVOR, "Content-Length: 0"], 405, id="put"),
        pytest.param([f"OPTIONS {EMAIL} HTTP/1.1", "Origin: https://evil.example"], 405, id="preflight"),
        pytest.param([f"GET {TOP}instance/../../v1/instance/id HTTP/1.1", FLAVOR], 404, id="dots"),
        pytest.param([f"GET {TOP}instance/%2e%2e/project/project-id HTTP/1.1", FLAVOR], 404, id="encoded dots"),
        pytest.param([f"GET {TOP}instance%2fid HTTP/1.1", FLAVOR], 404, id="encoded slash"),
        pytest.param([f"GET /{EMAIL} HTTP/1.1", FLAVOR], 404, id="two slashes"),
        pytest.param([f"GET {EMAIL};x HTTP/1.1", FLAVOR], 404, id="path parameter"),
        pytest.param([f"GET http://metadata.google.internal{EMAIL} HTTP/1.1", FLAVOR], 404, id="absolute form"),
        pytest.param(["OPTIONS * HTTP/1.1", FLAVOR], 405, id="asterisk"),
        pytest.param([f"GET {EMAIL}?{'a' * 9000} HTTP/1.1", FLAVOR], 414, id="long query"),
        pytest.param([f"GET {EMAIL}?audience=a&audience=b HTTP/1.1", FLAVOR], 400, id="parameter twice"),
    ],
)
def test_it_is_refused_by_a_server_that_says_whose_it_is(sidecar: SidecarProcess, lines: list[str], expected: int) -> None:
    status, answer = send(sidecar, *lines)
    assert status == expected
    assert b"metadata-flavor: google" in answer.lower()
    assert b"workload.id.goog" not in answer
    assert b"access-control-allow" not in answer.lower()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1", "localhost", "metadata.google.internal.evil.example"])
def test_a_web_page_whose_name_was_bound_to_loopback_gets_nothing_also_with_the_header(sidecar: SidecarProcess, host: str) -> None:
    status, answer = send(sidecar, f"GET {EMAIL} HTTP/1.1", FLAVOR, host=host)
    assert status == 403
    assert b"workload.id.goog" not in answer


@pytest.mark.parametrize(
    ("lines", "host"),
    [
        pytest.param([f"GET {EMAIL} HTTP/1.1", FLAVOR], None, id="no host"),
        pytest.param([f"GET {EMAIL} HTTP/1.0", FLAVOR], None, id="an older protocol without host"),
        pytest.param([f"GET {EMAIL} HTTP/1.1", FLAVOR, "Host: metadata.google.internal"], "", id="two hosts"),
        pytest.param([f"GET {EMAIL}\x01 HTTP/1.1", FLAVOR], "", id="a control character"),
        pytest.param(["\x16\x03\x01 HTTP/1.1"], "", id="tls"),
    ],
)
def test_what_is_no_sound_request_gets_nothing(sidecar: SidecarProcess, lines: list[str], host: str | None) -> None:
    status, answer = send(sidecar, *lines, host=host)
    assert status in {400, 403}
    assert b"\r\nmetadata-flavor: Google\r\n" in answer
    assert b"workload.id.goog" not in answer


def test_a_redirect_stays_on_this_host(sidecar: SidecarProcess) -> None:
    _, answer = send(sidecar, f"GET {TOP}instance?a=//evil.example HTTP/1.1", FLAVOR)
    found = re.search(rb"(?i)^location: (.*)\r$", answer, re.MULTILINE)
    assert found is not None
    assert found[1] == f"{TOP}instance/?a=//evil.example".encode()


def test_an_answer_does_not_wait_for_the_client_s_acknowledgement(sidecar: SidecarProcess) -> None:
    def answer() -> float:
        began = time.monotonic()
        sidecar.get(EMAIL)
        return time.monotonic() - began

    # The kernel's timer alone would be 0.04 s for each. One series of some: the machine may have others to serve.
    assert any(median(answer() for _ in range(50)) < 0.02 for _ in range(20))


def test_a_flood_of_audiences_and_scopes_is_answered_and_leaves_the_server_as_it_was(sidecar: SidecarProcess) -> None:
    before = resident_mb(sidecar)
    account = f"{TOP}instance/service-accounts/default/"
    targets = [f"{account}identity?audience=https://{number}.example/{'x' * 200}" for number in range(500)]
    targets += [f"{TOP}nope/{number}?{'y' * 4000}" for number in range(500)]
    with ThreadPoolExecutor(8) as pool:
        statuses = {answer[0] for answer in pool.map(lambda target: send(sidecar, f"GET {target} HTTP/1.1", FLAVOR), targets)}
    assert statuses == {404}
    assert resident_mb(sidecar) - before < 8
    assert send(sidecar, f"GET {EMAIL} HTTP/1.1", FLAVOR)[0] == 200


@pytest.mark.slow  # it waits for time limits of ten seconds
def test_connections_that_say_nothing_or_never_end_a_head_are_bounded_in_number_and_time(sidecar: SidecarProcess) -> None:
    before = resident_mb(sidecar)
    address, _, port = sidecar.address.rpartition(":")
    with ExitStack() as stack:
        flood = [stack.enter_context(socket.create_connection((address, int(port)), timeout=20)) for _ in range(CONNECTIONS_LIMIT + 100)]
        for connection in flood[::2]:
            with suppress(OSError):  # it was one too many
                connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"y" * 8000)
        assert resident_mb(sidecar) - before < 24
        began = time.monotonic()
        assert all(is_cut(connection) for connection in flood)
        assert time.monotonic() - began < SILENCE_LIMIT_S + 5
    assert send(sidecar, f"GET {EMAIL} HTTP/1.1", FLAVOR)[0] == 200


def is_cut(connection: socket.socket) -> bool:
    """Tell whether the other end gives up, within the connection's time limit."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True


def resident_mb(sidecar: SidecarProcess) -> float:
    status = Path(f"/proc/{sidecar.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024
