# SPDX-License-Identifier: Apache-2.0
"""What does it cost to add a workload's token to a request, or two, beside the bare library and beside google-auth?

CPU time of this process, against a plain HTTP server in another one, over kept connections. Every round measures all subjects one after the
other, in an order that turns, and each subject is compared with its bare library in the same round. Prints a table, then one JSON object.
"""

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import httpx2
import jwt as pyjwt
import requests
import urllib3
from google.auth.transport.requests import AuthorizedSession
from google.oauth2.credentials import Credentials

import podpass.client.httpx2
import podpass.client.requests
import podpass.client.urllib3
from podpass.names import Secret
from podpass.sources.file import FileSource

ROUNDS = 31
CALLS = 60
SERVER = """
import socket
from uvicorn import Config, Server

async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
Server(Config(app, log_level="error", access_log=False, lifespan="off")).run([listener])
"""
# Each subject with the one that it is compared with.
PAIRS = {
    "httpx2 + the header itself": "httpx2",
    "httpx2 + podpass": "httpx2",
    "httpx2 + two tokens": "httpx2",
    "requests + the header itself": "requests",
    "requests + podpass": "requests",
    "requests + two tokens": "requests",
    "requests + google-auth": "requests",
    "urllib3 + the header itself": "urllib3",
    "urllib3 + podpass": "urllib3",
    "urllib3 + two tokens": "urllib3",
}

Subject = Callable[[], object]


class Given:
    """A source that has to be asked, as the metadata server is; in a benchmark it is asked once."""

    def __init__(self, token: str) -> None:
        self._token = token

    def read(self) -> Secret[str]:
        """Return the token."""
        return Secret(self._token, "ID token")


def subjects(url: str, folder: Path) -> dict[str, Subject]:
    """Prepare a client of each kind; all send a token of the same size."""
    key = "0123456789abcdef" * 8
    token = pyjwt.encode({"exp": int(time.time()) + 3600, "sub": "system:serviceaccount:shop:checkout", "x": "x" * 700}, key)
    (folder / "token").write_text(token)
    source, origins = FileSource(folder / "token"), [url]
    google_source = Given(token)
    bare, signed = httpx2.Client(), httpx2.Client(auth=podpass.client.httpx2.BearerAuth(source, origins=origins))
    twice = podpass.client.httpx2.BearerAuth(source, origins=origins, serverless=google_source).attach(httpx2.Client())
    session, signed_session, twice_session = requests.Session(), requests.Session(), requests.Session()
    podpass.client.requests.BearerAuth(source, origins=origins).attach(signed_session)
    podpass.client.requests.BearerAuth(source, origins=origins, serverless=google_source).attach(twice_session)
    expiry = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=1)
    google = AuthorizedSession(Credentials(token, expiry=expiry))
    pool = urllib3.PoolManager()
    signed_pool = podpass.client.urllib3.BearerAuth(source, origins=origins).attach(urllib3.PoolManager())
    twice_pool = podpass.client.urllib3.BearerAuth(source, origins=origins, serverless=google_source).attach(urllib3.PoolManager())
    for of_requests in (session, signed_session, twice_session, google):
        # Else each looks for proxies and for a netrc file at each request, which takes longer than what is measured.
        of_requests.trust_env = False
    header = {"authorization": f"Bearer {token}"}
    return {
        "httpx2": lambda: bare.get(url),
        "httpx2 + the header itself": lambda: bare.get(url, headers=header),
        "httpx2 + podpass": lambda: signed.get(url),
        "httpx2 + two tokens": lambda: twice.get(url),
        "requests": lambda: session.get(url),
        "requests + the header itself": lambda: session.get(url, headers=header),
        "requests + podpass": lambda: signed_session.get(url),
        "requests + two tokens": lambda: twice_session.get(url),
        "requests + google-auth": lambda: google.get(url),
        "urllib3": lambda: pool.request("GET", url),
        "urllib3 + the header itself": lambda: pool.request("GET", url, headers=header),
        "urllib3 + podpass": lambda: signed_pool.request("GET", url),
        "urllib3 + two tokens": lambda: twice_pool.request("GET", url),
    }


def measure(prepared: dict[str, Subject]) -> dict[str, list[float]]:
    """Measure in interleaved rounds; microseconds of CPU time a call."""
    names = list(prepared)
    times: dict[str, list[float]] = {name: [] for name in names}
    for call in prepared.values():
        call()
    gc.disable()
    for number in range(ROUNDS):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            call, started = prepared[name], time.process_time_ns()
            for _ in range(CALLS):
                call()
            times[name].append((time.process_time_ns() - started) / CALLS / 1000)
        gc.collect()
    gc.enable()
    return times


def report(times: dict[str, list[float]]) -> dict[str, object]:
    """Print what was measured, and return it."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    added = {name: statistics.median(a - b for a, b in zip(times[name], times[bare], strict=True)) for name, bare in PAIRS.items()}
    print(f"{'':30}{'us a call':>11}{'added us':>10}{'share':>8}")
    for name, value in medians.items():
        more = f"{added[name]:>10.1f}{added[name] / medians[PAIRS[name]]:>8.1%}" if name in PAIRS else ""
        print(f"{name:30}{value:>11.1f}{more}")
    ratios = {
        "httpx2_share": round(added["httpx2 + podpass"] / medians["httpx2"], 4),
        "httpx2_two_tokens_over_one": round(added["httpx2 + two tokens"] / added["httpx2 + podpass"], 3),
        "requests_two_tokens_over_one": round(added["requests + two tokens"] / added["requests + podpass"], 3),
        "urllib3_two_tokens_over_one": round(added["urllib3 + two tokens"] / added["urllib3 + podpass"], 3),
        "requests_podpass_over_google_auth": round(added["requests + podpass"] / added["requests + google-auth"], 3),
    }
    rounded = {name: round(value, 1) for name, value in medians.items()}
    return {"us": rounded, "added_us": {name: round(value, 1) for name, value in added.items()}, "ratios": ratios}


def main() -> None:
    """Start the server, measure, print."""
    with (
        subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        assert server.stdout is not None
        try:
            results = report(measure(subjects(f"http://127.0.0.1:{int(server.stdout.readline())}/", Path(folder))))
        finally:
            server.terminate()
    libraries = {name: version(name) for name in ("httpx2", "requests", "urllib3", "google-auth")}
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(), **libraries}
    print(json.dumps({"benchmark": "client", "unit": "us", "rounds": ROUNDS, "calls": CALLS, "results": results, "machine": machine}))


if __name__ == "__main__":
    main()
