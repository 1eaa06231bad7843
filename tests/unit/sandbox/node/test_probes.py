# SPDX-License-Identifier: Apache-2.0
import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from podpass.sandbox.node.probes import Probe

QUICK = {"periodSeconds": 0.01, "timeoutSeconds": 30}


class Container:
    """Answers commands with the given exit codes, one after the other, and leads every connection to one server."""

    def __init__(self, codes: Sequence[int] = (), port: int = 0) -> None:
        self.codes = list(codes)
        self.commands: list[list[str]] = []
        self.hosts: list[str] = []
        self._port = port

    def port(self, port: int | str) -> int:
        return self._port if port == "web" else int(port)

    async def connection(self, port: int, host: str, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.hosts.append(host)
        return await asyncio.open_connection("127.0.0.1", port, ssl=context)

    async def execute(self, command: list[str]) -> tuple[int, str]:
        self.commands.append(command)
        if not self.codes:
            await asyncio.sleep(60)
        return self.codes.pop(0), "said\n"


def verdicts(kind: str, spec: dict[str, Any], container: Container, count: int) -> list[tuple[bool, str]]:
    """Ask until there are so many verdicts; return each with what was wrong."""

    async def story() -> list[tuple[bool, str]]:
        probe, found = Probe(kind, {**QUICK, **spec}, container), []
        asked = probe.verdicts()
        async for good in asked:
            found.append((good, probe.complaint))
            if len(found) == count:
                break
        await asked.aclose()
        return found

    return asyncio.run(story())


COMMAND = {"exec": {"command": ["true"]}}
WRONG = "command ended with 1: said"


@pytest.mark.parametrize(
    ("kind", "thresholds", "codes", "expected"),
    [
        ("Readiness", {}, [0, 1, 1, 1, 0], [True, False, True]),
        ("Readiness", {"failureThreshold": 1, "successThreshold": 2}, [0, 1, 0, 0], [False, True]),
        ("Liveness", {"failureThreshold": 2}, [0, 1, 0, 1, 1], [True, True, False]),
        ("Startup", {"failureThreshold": 1}, [1, 1, 1, 0], [True]),
        ("Startup", {"failureThreshold": 1}, [1, 1, 1, 1], [False]),
    ],
)
def test_verdict_needs_as_many_answers_in_a_row_as_its_threshold(
    kind: str, thresholds: dict[str, int], codes: list[int], expected: list[bool]
) -> None:
    container = Container(codes)
    found = verdicts(kind, {**COMMAND, **thresholds}, container, len(expected))
    assert found == [(good, "" if good else WRONG) for good in expected]
    assert container.codes == []


def test_command_that_does_not_end_in_time_has_failed() -> None:
    spec = {**COMMAND, "failureThreshold": 1, "timeoutSeconds": 0.05}
    assert verdicts("Liveness", spec, Container(), 1) == [(False, "no answer within 0 s")]


def test_probe_that_is_cancelled_as_an_answer_comes_asks_no_more() -> None:
    """It went on for ever, and the end of the node agent waited for it."""

    async def story() -> bool:
        answer: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        container = Container()

        async def execute(command: list[str]) -> tuple[int, str]:
            container.commands.append(command)
            return await answer if len(container.commands) == 1 else await asyncio.Future()

        container.execute = execute  # type: ignore[method-assign]
        probe = Probe("Readiness", {**QUICK, **COMMAND, "successThreshold": 2}, container)
        asking = asyncio.ensure_future(anext(probe.verdicts()))
        while not container.commands:  # noqa: ASYNC110 - the turns of the loop are the point
            await asyncio.sleep(0)
        answer.set_result((0, ""))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait({asking}, timeout=30)
        return asking.cancelled()

    assert asyncio.run(story())


@asynccontextmanager
async def server(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """Answer every request with these bytes; yield the port, and the requests so far."""
    heard: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
        except asyncio.IncompleteReadError:  # a TCP probe says nothing
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1], heard
    finally:
        listening.close()


def asked_over_http(answer: bytes, **get: Any) -> tuple[bool, str, bytes]:  # noqa: ANN401 - JSON
    async def story() -> tuple[bool, str, bytes]:
        async with server(answer) as (port, heard):
            probe = Probe("Liveness", {**QUICK, "failureThreshold": 1, "httpGet": {"port": "web", **get}}, Container(port=port))
            asked = probe.verdicts()
            good = await anext(asked)
            await asked.aclose()
            return good, probe.complaint, heard[0]

    return asyncio.run(story())


@pytest.mark.parametrize("status", [200, 204, 302, 399])
def test_http_status_from_200_to_399_is_good(status: int) -> None:
    assert asked_over_http(b"HTTP/1.1 %d x\r\n\r\n" % status)[:2] == (True, "")


@pytest.mark.parametrize(
    ("answer", "said"), [(b"HTTP/1.1 404 x\r\n\r\n", "404"), (b"HTTP/1.0 503\r\n\r\n", "503"), (b"SSH-2.0-x\r\n", "none"), (b"", "none")]
)
def test_another_answer_is_not(answer: bytes, said: str) -> None:
    assert asked_over_http(answer)[:2] == (False, f"HTTP probe failed with statuscode: {said}")


def test_http_request_is_kubelets() -> None:
    headers = [{"name": "X-Probe", "value": "yes"}, {"name": "Host", "value": "me.example"}]
    lines = asked_over_http(b"HTTP/1.1 200 x\r\n\r\n", path="/healthz?full=1", httpHeaders=headers)[2].decode().split("\r\n")
    assert lines[0] == "GET /healthz?full=1 HTTP/1.1"
    assert {"Host: me.example", "X-Probe: yes", "Connection: close", "User-Agent: kube-probe/1.32"} <= set(lines)


def test_tcp_probe_tells_an_open_port_from_a_closed_one() -> None:
    async def story() -> tuple[bool, bool, str]:
        async with server(b"") as (port, _):
            spec = {**QUICK, "failureThreshold": 1, "tcpSocket": {"port": port, "host": "127.0.0.1"}}
            container = Container()
            asked = (probe := Probe("Liveness", spec, container)).verdicts()
            before = await anext(asked)
        after = await anext(asked)
        await asked.aclose()
        assert set(container.hosts) == {"127.0.0.1"}
        return before, after, probe.complaint

    before, after, complaint = asyncio.run(story())
    assert (before, after) == (True, False)
    assert "Connect call failed" in complaint


def test_probe_of_another_kind_fails_and_says_why() -> None:
    ((good, complaint),) = verdicts("Readiness", {"grpc": {"port": 1}, "failureThreshold": 1}, Container(), 1)
    assert not good
    assert "use a real cluster" in complaint
