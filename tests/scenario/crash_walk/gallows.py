# SPDX-License-Identifier: Apache-2.0
"""The man in the middle: passes requests on, counts them, and kills the process that sends them at the one that it was told."""

import http.server
import json
import os
import signal
import ssl
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import httpx2
import yaml

from podpass.sandbox.ca import GOOGLE_NAMES, AuthorityCA

Moment = Literal["before", "after"]
_HOP_BY_HOP = {"connection", "content-length", "content-encoding", "transfer-encoding", "keep-alive", "host"}
# Questions that are asked by POST.
_ASKING = ("getIamPolicy", "testIamPermissions", "/token", "selfsubjectaccessreviews")


def is_writing(verb: str, path: str) -> bool:
    """Whether a request may change something."""
    return verb != "GET" and not path.partition("?")[0].endswith(_ASKING)


@dataclass
class Gallows:
    """Counts requests, and kills at the N-th.

    Attributes:
        counts: Which requests count.
        at: The request to kill at, from 1; 0: none.
        moment: Before it is sent on, or after it was answered.
        signal: SIGKILL; another one is sent before, and the request is passed on.
    """

    counts: Callable[[str, str], bool] = lambda _verb, _path: True
    at: int = 0
    moment: Moment = "before"
    signal: int = signal.SIGKILL
    seen: int = 0
    pid: int = 0
    trail: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _known: threading.Event = field(default_factory=threading.Event)

    def name(self, pid: int) -> None:
        """Say whom to kill."""
        self.pid = pid
        self._known.set()

    def judge(self, verb: str, path: str) -> bool:
        """Count a request; return whether it is the last one."""
        if not self.counts(verb, path):
            return False
        with self._lock:
            self.seen += 1
            self.trail.append(f"{verb} {path}")
            return self.seen == self.at

    def kill(self) -> None:
        """Kill the process; the caller answers nothing."""
        assert self._known.wait(60), "whom?"  # pid 0 would be this process, and all of its group
        os.kill(self.pid, self.signal)


class Middle:
    """Two doors on loopback: a CONNECT proxy for Google's hosts, and an API server; both lead to the sandbox.

    Args:
        environment: The sandbox's.
        folder: For files of its own.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path) -> None:
        self._environment = dict(environment)
        self._folder = folder
        self._stack = ExitStack()
        self.gallows = Gallows()

    def __enter__(self) -> Self:
        authority = AuthorityCA(Path(self._environment["SSL_CERT_FILE"]).parent)
        context = authority.issue_server_certificate((*GOOGLE_NAMES, "127.0.0.1", "localhost")).server_context(self._folder, "middle")
        trust = ssl.create_default_context(cafile=str(authority.path))
        out = self._environment["HTTPS_PROXY"]
        google = self._stack.enter_context(httpx2.Client(proxy=out, verify=trust, trust_env=False, timeout=30))
        kube = self._stack.enter_context(httpx2.Client(verify=trust, trust_env=False, timeout=30))
        kubeconfig = yaml.safe_load(Path(self._environment["KUBECONFIG"]).read_text())
        cluster = kubeconfig["clusters"][0]["cluster"]
        proxy = self._serve(_bound(self, google, "", context))
        api = self._serve(_bound(self, kube, cluster["server"], None), context)
        cluster["server"] = f"https://127.0.0.1:{api}"
        path = self._folder / "kubeconfig"
        path.write_text(json.dumps(kubeconfig))
        for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
            self._environment[name] = f"http://127.0.0.1:{proxy}"
        self._environment["KUBECONFIG"] = str(path)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def environment(self) -> dict[str, str]:
        """The sandbox's environment, with the middle in it."""
        return self._environment

    def _serve(self, handler: type[http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> int:
        server = _Server(("127.0.0.1", 0), handler)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # the dead do not hang up politely
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        self._stack.callback(thread.join)
        self._stack.callback(server.server_close)
        self._stack.callback(server.shutdown)
        return int(server.server_address[1])


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # podpass opens many connections at once; a full queue costs each a second


class _Passage(http.server.BaseHTTPRequestHandler):
    """One connection; `bound` says where it leads."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for podpass' word that it has the headers
    middle: Middle
    client: httpx2.Client
    inner: ssl.SSLContext | None
    origin: str
    secured: ssl.SSLSocket | None = None

    def do_CONNECT(self) -> None:
        assert self.inner is not None
        self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        secured = self.secured = self.inner.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = secured.makefile("rb"), secured.makefile("wb", buffering=0)  # type: ignore[assignment]  # as socketserver does
        self.origin = f"https://{self.path.partition(':')[0]}"
        self.close_connection = False

    def finish(self) -> None:
        with suppress(OSError):  # the dead read no answers
            super().finish()
        if self.secured:
            self.secured.close()

    def log_message(self, *_: object) -> None:
        pass

    def _pass_on(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:  # its sender died while it was sending: no server acts on half a request
            self.close_connection = True
            return
        gallows = self.middle.gallows
        is_last = gallows.judge(self.command, self.path)
        if is_last and gallows.moment == "before":
            gallows.kill()
            if gallows.signal == signal.SIGKILL:
                self.close_connection = True
                return
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        answer = self._answer(body, headers)
        if is_last and gallows.signal == signal.SIGKILL:
            gallows.kill()
            answer = None
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status_code)
        for name, value in answer.headers.items():
            if name.lower() not in _HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("content-length", str(len(answer.content)))
        self.end_headers()
        self.wfile.write(answer.content)

    def _answer(self, body: bytes, headers: Mapping[str, str]) -> httpx2.Response | None:
        """Pass a request on; None where the answer was lost on its way, as bad weather has it."""
        try:
            return self.client.request(self.command, self.origin + self.path, content=body, headers=headers)
        except httpx2.TransportError:
            return None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - the names that http.server calls


def _bound(middle: Middle, client: httpx2.Client, origin: str, inner: ssl.SSLContext | None) -> type[_Passage]:
    """Return passages that lead to one place; those with an inner context are proxies and learn the place from CONNECT."""
    return type("_Bound", (_Passage,), {"middle": middle, "client": client, "origin": origin, "inner": inner})
