# SPDX-License-Identifier: Apache-2.0
"""What does a metadata server in each pod cost: exchanges at the start, CPU for each answer, memory?

`podpass metadata-server` runs as in a pod, with the sandbox's Google behind it. First 200 clients that are all there before it can answer
ask for a token at once; the exchanges that Google sees are counted. Then its answers at hand are compared with a bare Starlette application
under the same uvicorn (h11, asyncio): a loader on the other core sends requests on a few connections that stay open, and what counts is the
CPU time of the server's process for each request, in interleaved rounds. Memory is taken from /proc at the end of it: all that is resident,
and what belongs to the process alone.
"""

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import default
from google.auth.transport.requests import AuthorizedSession

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

ROUNDS = 15
REQUESTS = 1000
CONNECTIONS = 4
FIRST = 200
PROJECT, NUMBER = "demo-project", "415104041262"
POOL = f"projects/{NUMBER}/locations/global/workloadIdentityPools/bench-pool"
PROVIDER = f"{POOL}/providers/bench"
ISSUER = "https://issuer.example/bench"
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default/"
PATHS = {
    "token": f"{ACCOUNT}token",
    "token?scopes": f"{ACCOUNT}token?scopes=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fcloud-platform",
    "account": f"{ACCOUNT}?recursive=true",
    "email": f"{ACCOUNT}email",
}
BARE = "bare Starlette"
CLOUD_PLATFORM = "https://www.googleapis.com/auth/cloud-platform"


def serve_bare(port: int) -> None:
    """Serve a text at one path by Starlette, as the metadata server is served."""
    import uvicorn  # noqa: PLC0415 - the loader does without
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import PlainTextResponse  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def ok(_: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    app = Starlette(routes=[Route(PATHS["token"], ok)])
    uvicorn.run(app, port=port, loop="asyncio", http="h11", ws="none", lifespan="off", log_config=None, access_log=False)


def federate(sandbox: HostedSandbox, token_file: Path) -> None:
    """Make a provider that trusts an issuer, and write a subject token of its."""
    os.environ.update(sandbox.environment())
    key = rsa.generate_private_key(65537, 2048)
    public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
    del public["key_ops"]
    keys = json.dumps({"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]})
    provider = {"attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": ISSUER, "jwksJson": keys}}
    credentials, _ = default(scopes=[CLOUD_PLATFORM])
    pools = f"https://iam.googleapis.com/v1/projects/{PROJECT}/locations/global/workloadIdentityPools"
    with AuthorizedSession(credentials) as session:
        session.post(f"{pools}?workloadIdentityPoolId=bench-pool", json={}).raise_for_status()
        session.post(f"{pools}/bench-pool/providers?workloadIdentityPoolProviderId=bench", json=provider).raise_for_status()
    now = int(time.time())
    claims = {"iss": ISSUER, "sub": "system:serviceaccount:shop:checkout", "aud": f"//iam.googleapis.com/{PROVIDER}", "iat": now}
    token_file.write_text(jwt.encode({**claims, "exp": now + 3600}, key, "RS256", {"kid": "one"}))


class Server:
    """A server's process, on one core."""

    def __init__(self, port: int, *command: str) -> None:
        self.port = port
        self.process = subprocess.Popen(command)
        _pin(self.process.pid, 0)

    def cpu_us(self) -> float:
        """Return the CPU time that the process has used; microseconds."""
        return int(Path(f"/proc/{self.process.pid}/schedstat").read_text().split()[0]) / 1000

    def memory_mb(self) -> dict[str, float]:
        """Return what it occupies: with what it shares with other processes, and without."""
        lines = Path(f"/proc/{self.process.pid}/smaps_rollup").read_text().splitlines()
        found = {line.split(":")[0]: int(line.split()[1]) for line in lines[1:]}
        return {"resident": round(found["Rss"] / 1024, 1), "own": round((found["Private_Dirty"] + found["Private_Clean"]) / 1024, 1)}

    def connect(self) -> socket.socket:
        """Connect as soon as it listens."""
        end = time.monotonic() + 30
        while True:
            try:
                return socket.create_connection(("127.0.0.1", self.port))
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.001)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def _pin(pid: int, core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core % len(cores)]})


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def request_of(port: int, path: str) -> bytes:
    """Return a request as google-auth sends it."""
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "User-Agent: python-requests/2.32", "Accept-Encoding: gzip, deflate"]
    lines += ["Accept: */*", "Connection: keep-alive", "metadata-flavor: Google", "x-goog-api-client: gl-python/3.11 auth/2.62"]
    return "\r\n".join([*lines, "", ""]).encode()


def receive(connection: socket.socket) -> bytes:
    """Return one answer's body."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _chunk(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), received
    length = int(next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")))
    while len(body) < length:
        body += _chunk(connection)
    return body


def _chunk(connection: socket.socket) -> bytes:
    chunk = connection.recv(1 << 16)
    assert chunk
    return chunk


def first_requests(server: Server, sandbox: HostedSandbox) -> dict[str, int]:
    """Ask 200 times at once, before the server can answer; count tokens and exchanges."""
    connections = [server.connect() for _ in range(FIRST)]
    for connection in connections:
        connection.sendall(request_of(server.port, PATHS["token"]))
    tokens = {json.loads(receive(connection))["access_token"] for connection in connections}
    for connection in connections:
        connection.close()
    exchanges = sum(entry["method"].startswith("sts.") for entry in sandbox.requests())
    return {"requests": FIRST, "tokens": len(tokens), "exchanges": exchanges}


def load(server: Server, path: str) -> float:
    """Send requests on a few connections; return the server's CPU microseconds for each."""
    request = request_of(server.port, path)
    connections = [server.connect() for _ in range(CONNECTIONS)]
    before = server.cpu_us()
    for _ in range(REQUESTS // CONNECTIONS):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            receive(connection)
    spent = server.cpu_us() - before
    for connection in connections:
        connection.close()
    return spent / REQUESTS


def answers_us(metadata: Server, bare: Server) -> tuple[dict[str, float], dict[str, float]]:
    """Measure in interleaved rounds; CPU microseconds an answer, and how many bare ones it is."""
    cases = {BARE: (bare, PATHS["token"]), **{name: (metadata, path) for name, path in PATHS.items()}}
    times: dict[str, list[float]] = {name: [] for name in cases}
    for server, path in cases.values():
        load(server, path)
    for number in range(ROUNDS):
        names = list(cases)
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            times[name].append(load(*cases[name]))
    ratios = {name: statistics.median(one / base for one, base in zip(values, times[BARE], strict=True)) for name, values in times.items()}
    return {name: statistics.median(values) for name, values in times.items()}, ratios


def main() -> None:
    """Measure and print."""
    settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0), latency=timedelta(milliseconds=50))
    with HostedSandbox(settings, with_cluster=False) as sandbox, tempfile.TemporaryDirectory() as directory:
        token_file = Path(directory) / "token"
        federate(sandbox, token_file)
        port, bare_port = _free_port(), _free_port()
        flags = (f"--listen=127.0.0.1:{port}", f"--provider={PROVIDER}", f"--token-file={token_file}", f"--project-id={PROJECT}")
        metadata = Server(port, sys.executable, "-m", "podpass.cli", "metadata-server", *flags)
        bare = Server(bare_port, sys.executable, __file__, "serve", str(bare_port))
        try:
            first = first_requests(metadata, sandbox)
            memory_at_start = metadata.memory_mb()
            _pin(os.getpid(), 1)
            medians, ratios = answers_us(metadata, bare)
            memory = {"after the first requests": memory_at_start, "after the load": metadata.memory_mb()}
        finally:
            metadata.stop()
            bare.stop()
    print(f"{first['requests']} first requests at once: {first['tokens']} token, {first['exchanges']} exchange")
    for name, value in medians.items():
        print(f"{name:20}{value:>8.1f} us of CPU an answer   {ratios[name]:.2f} bare ones")
    for name, found in memory.items():
        print(f"{name:26}{found['resident']:>8.1f} MB resident, {found['own']:.1f} MB its own")
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(), "uvicorn": version("uvicorn")}
    results = {
        "first": first,
        "answer_us": {name: round(value, 2) for name, value in medians.items()},
        "over_bare": {name: round(value, 3) for name, value in ratios.items()},
        "memory_mb": memory,
    }
    print(json.dumps({"benchmark": "metadata", "rounds": ROUNDS, "requests": REQUESTS, "results": results, "machine": machine}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve_bare(int(sys.argv[2]))
    else:
        main()
