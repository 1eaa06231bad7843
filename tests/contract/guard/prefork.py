# SPDX-License-Identifier: Apache-2.0
"""Servers that fork: the guard is made before, and judges in the workers. Skipped where the servers are not installed."""

import atexit
import itertools
import multiprocessing
import os
import re
import signal
import socket
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.util import find_spec
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from contract.guard.shells import Ask, FarHandler, Headers, Shell, is_no_path, request
from podpass.guard import Guard, wsgi

_START_LIMIT_S = 60.0
_GUNICORN_LIMIT_BYTES = 8190


def _gunicorn(app: wsgi.App, listener: socket.socket, worker: str) -> None:
    base: Any = import_module("gunicorn.app.base").BaseApplication

    class Application(base):  # type: ignore[misc]  # a class that is known only where gunicorn is installed
        def load_config(self) -> None:
            self.cfg.set("bind", f"fd://{listener.fileno()}")
            self.cfg.set("workers", 2)
            self.cfg.set("worker_class", worker)
            self.cfg.set("loglevel", "critical")

        def load(self) -> wsgi.App:
            return app

    Application().run()


def _gevent(app: wsgi.App, listener: socket.socket, _worker: str) -> None:
    import_module("gevent.monkey").patch_all()
    green = import_module("gevent.socket").socket(fileno=os.dup(listener.fileno()))
    import_module("gevent.pywsgi").WSGIServer(green, app, log=None).serve_forever()


def _child(run: Callable[..., None], app: wsgi.App, listener: socket.socket, worker: str) -> None:
    os.setpgid(0, 0)  # with its workers, which end together
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    run(app, listener, worker)


def _serve(run: Callable[..., None], worker: str = "") -> Callable[[Guard, FarHandler], Any]:
    @contextmanager
    def serve(guard: Guard, handler: FarHandler) -> Iterator[Ask]:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        app = wsgi.GuardMiddleware(handler.wsgi, guard)
        child = multiprocessing.get_context("fork").Process(target=_child, args=(run, app, listener, worker), daemon=False)
        child.start()
        assert child.pid
        listener.close()
        try:
            _await_answer(port, child)
            yield lambda *asked: request(port, *asked)
        finally:
            # Nobody waits for an answer any more; asked to end, gunicorn would look about it for a second.
            with suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)
            child.kill()
            child.join()

    return serve


def _await_answer(port: int, server: BaseProcess) -> None:
    end = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            request(port, "GET", b"/nowhere", [])
        except (OSError, ValueError, IndexError):
            if time.monotonic() > end or not server.is_alive():
                raise
            time.sleep(0.05)
        else:
            return


def _refused_by_gunicorn(target: bytes, headers: Headers) -> bool:
    """Gunicorn has a limit of 8190 bytes for a header field of its own."""
    return is_no_path(target, headers) or any(len(value) > _GUNICORN_LIMIT_BYTES for _, value in headers)


def _lost_in_gevent(target: bytes, headers: Headers) -> bool:
    """Gevent's own server hands on the decoded path alone: what was encoded in it, nobody can tell any more."""
    return is_no_path(target, headers) or re.search(rb"%2f|%(?![0-9a-f]{2})", target, re.IGNORECASE) is not None


# One folder a test process, gone with it; the servers' processes leave without their atexit.
_FOLDER = tempfile.TemporaryDirectory(prefix="podpass-guard-", ignore_cleanup_errors=True)
atexit.register(_FOLDER.cleanup)
_NUMBERS = itertools.count()


def _far() -> FarHandler:
    return FarHandler(Path(_FOLDER.name) / f"calls-{next(_NUMBERS)}")


def _shells() -> Iterator[Shell]:
    if find_spec("gunicorn"):
        yield Shell("gunicorn, sync", _serve(_gunicorn, "sync"), unseen=_refused_by_gunicorn, handler=_far)
    if find_spec("gunicorn") and find_spec("gevent"):
        yield Shell("gunicorn, gevent", _serve(_gunicorn, "gevent"), unseen=_refused_by_gunicorn, handler=_far)
    if find_spec("gevent"):
        yield Shell("gevent", _serve(_gevent), unseen=_lost_in_gevent, handler=_far)


PREFORK = list(_shells())
