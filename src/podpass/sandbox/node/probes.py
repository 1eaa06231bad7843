# SPDX-License-Identifier: Apache-2.0
"""Probes: how a container is asked whether it has started, is ready, is alive.

A startup probe asks four times as often as it says, and is four times as patient: else a pod would lose a second for each sidecar.

Source: Kubernetes, pkg/kubelet/prober (defaults: pkg/apis/core/v1/defaults.go, SetDefaults_Probe).
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Protocol

from podpass.sandbox.cluster_client import Object

_HASTE = 4
_GOOD_STATUS = range(200, 400)
_LINE_BYTES = 1024


class ProbeTarget(Protocol):
    """What a probe needs of its container."""

    def port(self, port: int | str) -> int:
        """Return the number of a port that may be given by its name."""
        ...

    async def connection(self, port: int, host: str, context: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of the pod, or of another host."""
        ...

    async def execute(self, command: list[str]) -> tuple[int, str]:
        """Run a command in the container; return its exit code and what it wrote."""
        ...


class Probe:
    """One of a container's probes."""

    def __init__(self, kind: str, spec: Object, target: ProbeTarget) -> None:
        haste = _HASTE if kind == "Startup" else 1
        self.kind = kind
        self.complaint = ""
        self._delay_s = float(spec.get("initialDelaySeconds") or 0)
        self._period_s = float(spec.get("periodSeconds") or 10) / haste
        self._limit_s = float(spec.get("timeoutSeconds") or 1)
        self._needed = {True: int(spec.get("successThreshold") or 1), False: int(spec.get("failureThreshold") or 3) * haste}
        self._check = _check(spec, target)

    async def verdicts(self) -> AsyncGenerator[bool, None]:
        """Yield a verdict each time that as many answers as it needs have agreed on it; `complaint` says what was wrong last."""
        await asyncio.sleep(self._delay_s)
        last, count = None, 0
        while True:
            good = await self._ask()
            count = count + 1 if good == last else 1
            last = good
            if count == self._needed[good]:
                yield good
            await asyncio.sleep(self._period_s)

    async def _ask(self) -> bool:
        try:
            async with asyncio.timeout(self._limit_s):  # wait_for swallows a cancellation that comes with the answer, until Python 3.12
                self.complaint = await self._check()
        except TimeoutError:
            self.complaint = f"no answer within {self._limit_s:.0f} s"
        except OSError as error:
            self.complaint = str(error)
        return not self.complaint


def _check(spec: Object, target: ProbeTarget) -> Callable[[], Awaitable[str]]:
    """Return what asks once, and returns what is wrong."""
    if command := (spec.get("exec") or {}).get("command"):
        return lambda: _exec(command, target)
    if http := spec.get("httpGet"):
        return lambda: _http_get(http, target)
    if tcp := spec.get("tcpSocket"):
        return lambda: _tcp(tcp, target)
    return _refuse


async def _refuse() -> str:
    return "the sandbox's probes are exec, httpGet and tcpSocket; for another one use a real cluster: --kubeconfig"


async def _exec(command: list[str], target: ProbeTarget) -> str:
    code, said = await target.execute(command)
    return f"command ended with {code}: {said.strip()}" if code else ""


async def _tcp(where: Object, target: ProbeTarget) -> str:
    _, writer = await target.connection(target.port(where["port"]), where.get("host", ""), None)
    writer.close()
    return ""


async def _http_get(where: Object, target: ProbeTarget) -> str:
    context = None
    if where.get("scheme") == "HTTPS":  # kubelet does not check the certificate either
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    port = target.port(where["port"])
    reader, writer = await target.connection(port, where.get("host", ""), context)
    try:
        given = {header["name"]: header["value"] for header in where.get("httpHeaders") or ()}
        headers = {"Host": f"{where.get('host') or 'localhost'}:{port}", "User-Agent": "kube-probe/1.32", "Connection": "close"} | given
        lines = [f"GET /{where.get('path', '/').lstrip('/')} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        line = (await reader.readline())[:_LINE_BYTES].decode("latin-1").split()
    finally:
        writer.close()
    status = line[1] if len(line) > 1 and line[0].startswith("HTTP/") else ""
    return "" if status.isdigit() and int(status) in _GOOD_STATUS else f"HTTP probe failed with statuscode: {status or 'none'}"
