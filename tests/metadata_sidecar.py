# SPDX-License-Identifier: Apache-2.0
"""`podpass metadata-server` as a process of its own, on a free port of this machine's loopback."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

import httpx2

_TIME_LIMIT_S = 60


class SidecarProcess:
    """A running metadata server.

    Attributes:
        address: `127.0.0.1:PORT`.
        log: Everything that it has written so far.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.log: list[str] = []
        self._addresses: Queue[str] = Queue()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        self.address = self._addresses.get(timeout=_TIME_LIMIT_S)
        self._http = httpx2.Client(
            base_url=f"http://{self.address}", headers={"Metadata-Flavor": "Google"}, trust_env=False, timeout=_TIME_LIMIT_S
        )

    def get(self, path: str) -> httpx2.Response:
        """Ask as its clients do."""
        return self._http.get(path)

    def environment(self) -> dict[str, str]:
        """Return the variables by which clients find it, as a pod's manifest sets them."""
        names = ("GCE_METADATA_HOST", "GCE_METADATA_IP", "GCE_METADATA_ROOT")
        return {**dict.fromkeys(names, self.address), "CLOUDSDK_CORE_CHECK_GCE_METADATA": "true", "NO_GCE_CHECK": "false"}

    def stop(self) -> int:
        """End it as kubelet does; return its exit code."""
        self._http.close()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(_TIME_LIMIT_S)
        self._reading.join(_TIME_LIMIT_S)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"Listening on (\S+)\.$", line):
                self._addresses.put(found[1])
        self._addresses.put("")


@contextmanager
def metadata_sidecar(
    *flags: str,
    environment: Mapping[str, str] | None = None,
    program: Sequence[str] = ("-m", "podpass.cli"),
    options: Sequence[str] = ("--verbose",),
) -> Iterator[SidecarProcess]:
    """Run one; it has ended when the context ends. `program` is what Python runs, `options` are those of every command."""
    command = [sys.executable, *program, *options, "metadata-server", "--listen=127.0.0.1:0", *flags]
    with subprocess.Popen(command, env={**os.environ, **(environment or {})}, stderr=subprocess.PIPE, text=True) as process:
        try:
            sidecar = SidecarProcess(process)
            yield sidecar
            if process.poll() is None:
                sidecar.stop()
        finally:
            process.kill()


def federated(provider: str, token_file: Path, *flags: str) -> tuple[str, ...]:
    """Return the flags of a sidecar with a subject token for a provider."""
    return (f"--provider={provider}", f"--token-file={token_file}", "--project-id=demo-project", *flags)
