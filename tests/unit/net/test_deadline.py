# SPDX-License-Identifier: Apache-2.0
"""The end of a call over a connection that was kept: which one that is, the client tells only when the answer has begun."""

import socket
import threading
from contextlib import suppress

import pytest

from podpass.discovery import web
from podpass.errors import UnreachableError
from podpass.net.deadline import Deadline


def test_an_answer_that_drips_over_a_kept_connection_is_cut_before_it_begins() -> None:
    is_over = threading.Event()
    kept: list[bytes] = []

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
            kept.append(connection.recv(65536))
            connection.sendall(b"HTTP/1.1 200 OK\r\nx: ")
            while not is_over.wait(0.02):
                connection.sendall(b"x")

    def ask() -> None:
        with web.new_http(trust_env=False) as http:
            with Deadline(30, http) as deadline:
                assert web.ask(http, question, deadline).content == b"{}"
            with Deadline(0.3, http) as deadline, pytest.raises(UnreachableError, match=r"no whole answer within 0\.3 s"):
                web.ask(http, question, deadline)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        question = web.Question(f"http://127.0.0.1:{listener.getsockname()[1]}/")
        serving, asking = (threading.Thread(target=work, daemon=True) for work in (serve, ask))
        serving.start()
        asking.start()
        asking.join(30)
        is_waiting = asking.is_alive()
        is_over.set()
        serving.join(30)
    assert kept
    assert not is_waiting
