# SPDX-License-Identifier: Apache-2.0
"""The process of a sidecar: sockets, signals, and as little memory as a Python process can do with.

Threads are started when they are needed; h11 instead of httptools, asyncio's own loop instead of uvloop: a pod asks a few
times an hour. What is there after the start stays, so the garbage collector is told not to look at it.
"""

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

import uvicorn

from podpass.metadata.address import BACKLOG, Address
from podpass.metadata.asgi import MetadataApp
from podpass.metadata.connection import Connection
from podpass.metadata.health import Health
from podpass.metadata.incoming import Gate
from podpass.metadata.sidecar import Sidecar

_log = logging.getLogger(__name__)

_GRACE_S: Final = 5
_HEAD_LIMIT_BYTES: Final = 16 * 1024


class _Server(uvicorn.Server):
    """uvicorn, whose signals are ours: it would raise SIGTERM once more at its end, and the process would not end with 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(sidecar: Sidecar, listening: socket.socket, health: socket.socket | None = None) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered still, those that wait for Google with a 503."""
    loop = asyncio.get_running_loop()
    port = listening.getsockname()[1]
    address = Address(*listening.getsockname()[:2])
    gate = Gate.for_port(port, [str(address)])
    health_port = health.getsockname()[1] if health else None
    app = MetadataApp(sidecar, gate, Health(lambda: sidecar.not_ready), health_port=health_port)
    server = _Server(_config(app))

    def stop() -> None:
        server.should_exit = True
        sidecar.end()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    working = loop.create_task(sidecar.run())
    working.add_done_callback(lambda _: stop())  # it does not end by itself, unless by a mistake of ours: then the container starts anew
    gc.collect()
    gc.freeze()
    _log.info("Listening on %s.", address)
    try:
        await server.serve(sockets=[listening, *([health] if health else [])])
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


def _config(app: MetadataApp) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="asyncio",
        http=Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # who is asking is never a header's to say
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
        h11_max_incomplete_event_size=_HEAD_LIMIT_BYTES,
        backlog=BACKLOG,
    )
