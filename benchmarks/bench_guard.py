# SPDX-License-Identifier: Apache-2.0
"""What does the guard add to a request, to the start of a program, and to its memory?

An ASGI application that answers "ok" is served by uvicorn, one worker, four times: bare, behind the guard with a token that it has seen
before, behind the least that a guard could be (it looks a token up by its SHA-256, and judges nothing), and behind a BaseHTTPMiddleware
that does nothing. A loader on the other core sends the same requests to each in turn, on a few
connections that stay open; what counts is the CPU time of the server's process for each request, in interleaved rounds.

Start-up: the CPU time of a fresh interpreter that imports `podpass.guard`, beside one that imports asyncio, cryptography (keys, digests,
serialization, OpenSSL) and msgspec, which any verifier on these parts would need.
"""

import json
import os
import platform
import resource
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

from podpass.guard import Guard
from podpass.guard.asgi import App, GuardMiddleware, Receive, Scope, Send
from podpass.verify import KeySet, VerificationKey

ROUNDS = 15
REQUESTS = 3000
CONNECTIONS = 4
START_ROUNDS = 25
AUDIENCE, ISSUER = "orders-api", "https://oidc.example/cluster-a"
POLICY = f"""\
apiVersion: podpass.dev/v1alpha1
kind: InvokerPolicy
metadata: {{name: bench}}
spec:
  audiences: [{AUDIENCE}]
  issuers:
    cluster: {{kind: kubernetes, url: {ISSUER}, keys: {{file: jwks.json}}}}
  rules:
    - {{name: open, paths: [/], members: [allUsers]}}
    - {{name: private, paths: [/private, /private/**], methods: [GET], members: ["kubernetes:cluster/shop/checkout"]}}
"""
BASE = (
    "import asyncio, msgspec; from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa;"
    "from cryptography.hazmat.primitives import hashes, serialization; from cryptography.hazmat.backends.openssl import backend"
)
KINDS = ("bare", "guarded", "digest alone", "BaseHTTPMiddleware")
STARTS = {
    "python": "pass",
    "asyncio + cryptography + msgspec": BASE,
    "the same + podpass.guard": f"{BASE}; import podpass.guard",
    "the same + podpass.guard.asgi": f"{BASE}; import podpass.guard.asgi",
}


# ---- the server's process


async def application(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - it reads no body
    """Answer."""
    if scope["type"] == "lifespan":
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class DigestAlone:
    """Looks a token up by its SHA-256 among those that it has seen."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.seen: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        for name, value in scope["headers"]:
            if name == b"authorization":
                digest = sha256(value[7:]).digest()
                if digest not in self.seen:
                    self.seen.add(digest)
        await self.app(scope, receive, send)


def serve(kind: str, port: int, policy: str) -> None:
    """Serve one of the four until the process is ended."""
    import uvicorn  # noqa: PLC0415 - the loader does without
    from starlette.middleware.base import BaseHTTPMiddleware  # noqa: PLC0415

    class Nothing(BaseHTTPMiddleware):
        async def dispatch(self, request, call_next):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN202 - as in most tutorials
            return await call_next(request)

    apps: dict[str, Callable[[], App]] = {
        "bare": lambda: application,
        "guarded": lambda: GuardMiddleware(application, Guard.from_file(policy)),
        "digest alone": lambda: DigestAlone(application),
        "BaseHTTPMiddleware": lambda: Nothing(application),
    }
    uvicorn.run(apps[kind](), port=port, log_config=None, access_log=False, lifespan="off", loop="uvloop", http="httptools")


# ---- the loader's process


class Server:
    """A server's process, on one core."""

    def __init__(self, kind: str, policy: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self.process = subprocess.Popen([sys.executable, __file__, "serve", kind, str(self.port), str(policy)])
        _pin(self.process.pid, 0)
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                break

    def cpu_us(self) -> float:
        """Return the CPU time that the process has used; microseconds."""
        with Path(f"/proc/{self.process.pid}/schedstat").open() as file:
            return int(file.read().split()[0]) / 1000

    def memory_kb(self) -> int:
        """Return what it occupies."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def _pin(pid: int, core: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(pid, {cores[core % len(cores)]})


def load(port: int, request: bytes) -> None:
    """Send the requests on a few connections, the next one on each when the answer to the last one is there, as clients do."""
    connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
    for _ in range(REQUESTS // CONNECTIONS):
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            received = connection.recv(1 << 16)
            while not received.endswith(b"\r\n\r\nok"):
                chunk = connection.recv(1 << 16)
                assert chunk, received
                received += chunk
            assert received.startswith(b"HTTP/1.1 200 "), received
    for connection in connections:
        connection.close()


def requests_us(directory: Path) -> tuple[dict[str, float], dict[str, float], dict[str, int]]:
    """Measure the four in interleaved rounds; CPU microseconds a request, their share of a bare one, memory."""
    token = write_policy(directory)
    request = b"GET /private HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer " + token.encode() + b"\r\n\r\n"
    servers = {kind: Server(kind, directory / "policy.yaml") for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in servers}
    try:
        for server in servers.values():
            load(server.port, request)
        for number in range(ROUNDS):
            kinds = list(servers)
            for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
                before = servers[kind].cpu_us()
                load(servers[kind].port, request)
                times[kind].append((servers[kind].cpu_us() - before) / REQUESTS)
        memory = {kind: server.memory_kb() for kind, server in servers.items()}
    finally:
        for server in servers.values():
            server.process.terminate()
            server.process.wait()
    medians = {kind: statistics.median(values) for kind, values in times.items()}
    shares = {
        kind: statistics.median(bare / one for bare, one in zip(times["bare"], values, strict=True)) for kind, values in times.items()
    }
    return medians, shares, memory


def write_policy(directory: Path) -> str:
    """Write a policy with its keys, and return a token that it admits."""
    private = ec.generate_private_key(ec.SECP256R1())
    key = VerificationKey.of(private.public_key())
    (directory / "jwks.json").write_text(KeySet.of([key]).canonical_json())
    (directory / "policy.yaml").write_text(POLICY)
    now_s = int(time.time())
    claims = {
        "aud": [AUDIENCE],
        "exp": now_s + 3600,
        "iat": now_s,
        "iss": ISSUER,
        "jti": "0a6f3f5e-5c3c-4c56-9d3b-0f8f8d1d8f11",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-1", "uid": "b1f3cf0e-6a62-4c3f-8ae4-6b1b4c9d3f01"},
            "pod": {"name": "checkout-6f7c", "uid": "9d0c1f65-1f2e-4a2c-93c3-35c6c5d0a002"},
            "serviceaccount": {"name": "checkout", "uid": "5a1b9f3d-52a4-4a62-a1cf-1f0f31c0b003"},
        },
        "nbf": now_s,
        "sub": "system:serviceaccount:shop:checkout",
    }
    return joserfc_jwt.encode({"alg": "ES256", "kid": key.kid}, claims, joserfc_jwk.ECKey.import_key(private))


def starts_ms(cache: str) -> tuple[dict[str, float], float]:
    """Measure the starts in interleaved rounds; CPU milliseconds, and what the guard adds in the median of the rounds."""
    # Compiled modules are there, as after an installation, whatever this environment says about them.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {"PYTHONPYCACHEPREFIX": cache}

    def start(program: str) -> float:
        return cpu_ms(lambda: subprocess.run([sys.executable, "-c", program], check=True, env=environment))

    for program in STARTS.values():
        start(program)
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(START_ROUNDS):
        for name, program in STARTS.items():
            times[name].append(start(program))
    base, guarded = (times[name] for name in list(STARTS)[1:3])
    added = statistics.median(after - before for before, after in zip(base, guarded, strict=True))
    return {name: statistics.median(values) for name, values in times.items()}, added


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of the children that some work starts; milliseconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    work()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def main() -> None:
    """Measure and print."""
    _pin(os.getpid(), 1)
    with tempfile.TemporaryDirectory() as directory:
        starts, added_ms = starts_ms(directory)
        medians, shares, memory = requests_us(Path(directory))
    for kind, value in medians.items():
        print(f"{kind:36}{value:>8.1f} us of CPU a request   bare / this {shares[kind]:.2f}   {memory[kind] / 1024:.0f} MiB")
    for name, value in starts.items():
        print(f"{name:36}{value:>8.1f} ms of CPU to start")
    print(f"podpass.guard adds {added_ms:.1f} ms")
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(), "uvicorn": version("uvicorn")}
    results = {
        "request_us": {kind: round(value, 2) for kind, value in medians.items()},
        "bare_over": {kind: round(value, 3) for kind, value in shares.items()},
        "memory_kb": memory,
        "start_ms": {name: round(value, 1) for name, value in starts.items()},
        "guard_adds_ms": round(added_ms, 1),
    }
    print(json.dumps({"benchmark": "guard", "rounds": ROUNDS, "requests": REQUESTS, "results": results, "machine": machine}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
