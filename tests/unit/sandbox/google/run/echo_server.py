# SPDX-License-Identifier: Apache-2.0
"""A container for tests: says what reached it, streams, crashes. Standard library only, so that it starts at once."""

import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAY_GO_ON = threading.Event()
CALLER_WENT = threading.Event()


class Echo(BaseHTTPRequestHandler):
    """Answers by path."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def answer(self) -> None:
        """Answer any verb."""
        path = self.path.partition("?")[0]
        if path == "/crash":
            os._exit(3)
        elif path == "/half":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"half")
            self.wfile.flush()
            os._exit(3)
        elif path == "/stream":
            self.stream()
        elif path == "/go-on":
            MAY_GO_ON.set()
            self.say({})
        elif path == "/went":
            self.say({"went": CALLER_WENT.wait(60)})
        elif path == "/refuse":
            self.say({}, 418, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("Connection", "X-Secret"), ("X-Secret", "1"))
        elif path == "/hang":
            threading.Event().wait()
        else:
            names = ("K_SERVICE", "K_REVISION", "K_CONFIGURATION", "COLOR", "HTTPS_PROXY", "SSL_CERT_FILE")
            env = {name: os.environ.get(name) for name in names}
            self.say({"verb": self.command, "target": self.path, "headers": self.headers.items(), "body": self.body(), "env": env})

    do_GET = do_POST = do_HEAD = do_PUT = answer  # noqa: N815 - the base class's own names

    def body(self) -> str:
        """Read the request's body."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts).decode()

    def say(self, value: object, status: int = 200, *headers: tuple[str, str]) -> None:
        """Send JSON."""
        content = json.dumps(value).encode()
        self.send_response(status)
        for name, text in (("Content-Length", str(len(content))), *headers):
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def stream(self) -> None:
        """Send one line, then nothing until somebody asks for `/go-on` or sends SIGUSR1, then more of them until the caller goes."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.line("one")
        MAY_GO_ON.wait()
        self.line("two")
        try:
            while True:
                self.line("more")
        except OSError:
            CALLER_WENT.set()

    def line(self, text: str) -> None:
        """Send one chunk."""
        self.wfile.write(f"{len(text) + 1:x}\r\n{text}\n\r\n".encode())

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's own name
        """Write to the log as any server does."""
        print(format % arguments, flush=True)


def main() -> None:
    """Serve at PORT; with BROKEN end before."""
    if "BROKEN" in os.environ:
        print("cannot go on", flush=True)
        sys.exit(4)
    signal.signal(signal.SIGUSR1, lambda *_: MAY_GO_ON.set())
    if "STUBBORN" in os.environ:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Echo).serve_forever()


if __name__ == "__main__":
    main()
