# SPDX-License-Identifier: Apache-2.0
"""What only WSGI has: paths that are decoded already, mounts that a header may move, joined headers."""

from typing import Any

import pytest

from contract.guard.shells import Handler
from guarding import CLUSTER, World, bearer, good
from podpass.guard import wsgi
from token_forge import SUBJECT


def ask(app: wsgi.App, environ: dict[str, Any]) -> tuple[str, dict[str, str], bytes]:
    started: list[Any] = []
    base = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/private", "HTTP_AUTHORIZATION": bearer(good())[1].decode()}
    merged = {name: value for name, value in {**base, **environ}.items() if value is not None}
    body = b"".join(app(merged, lambda *start: started.append(start)))
    ((status, headers),) = started
    return status, {name.lower(): value for name, value in headers}, body


@pytest.fixture
def handler() -> Handler:
    return Handler()


@pytest.fixture
def app(handler: Handler) -> wsgi.App:
    return wsgi.GuardMiddleware(handler.wsgi, World().guard())


@pytest.mark.parametrize(
    ("environ", "status"),
    [
        ({}, "200 OK"),
        ({"PATH_INFO": "/private/\xc3\xb6"}, "200 OK"),
        ({"PATH_INFO": ""}, "200 OK"),
        ({"PATH_INFO": None, "SCRIPT_NAME": None}, "200 OK"),
        ({"PATH_INFO": "/private/../x"}, "400 Bad Request"),
        ({"PATH_INFO": "//private"}, "400 Bad Request"),
        ({"PATH_INFO": "/private;x"}, "400 Bad Request"),
        ({"PATH_INFO": "/private/\xff"}, "400 Bad Request"),
        ({"PATH_INFO": "/private/\u20ac"}, "400 Bad Request"),
        ({"PATH_INFO": "/%2e%2e/private"}, "400 Bad Request"),
        ({"SCRIPT_NAME": "/api"}, "200 OK"),
        ({"RAW_URI": "/private?x=/../"}, "200 OK"),
        ({"REQUEST_URI": "/pri%76ate"}, "200 OK"),
        ({"RAW_URI": "/api/private", "SCRIPT_NAME": "/api"}, "200 OK"),
        ({"RAW_URI": "/other"}, "400 Bad Request"),
        ({"RAW_URI": "/private%2Fa", "PATH_INFO": "/private/a"}, "400 Bad Request"),
        ({"RAW_URI": "/private/\u20ac"}, "400 Bad Request"),
        ({"RAW_URI": "http://host/private"}, "400 Bad Request"),
    ],
)
def test_invariant_11_what_is_judged_is_what_is_served(app: wsgi.App, handler: Handler, environ: dict[str, Any], status: str) -> None:
    assert ask(app, environ)[0] == status
    assert handler.calls == ([SUBJECT] if status == "200 OK" else [])


def test_a_header_that_moves_the_mount_does_not_move_the_rules(app: wsgi.App, handler: Handler) -> None:
    """Gunicorn takes SCRIPT_NAME from a header of trusted proxies; the router sees what is left, and so do the rules."""
    moved = {"RAW_URI": "/open/private", "SCRIPT_NAME": "/open", "PATH_INFO": "/private", "HTTP_AUTHORIZATION": None}
    assert ask(app, moved)[0] == "401 Unauthorized"
    assert handler.calls == []


def test_an_identity_cannot_be_brought_along(app: wsgi.App, handler: Handler) -> None:
    assert (
        ask(app, {"PATH_INFO": "/", "HTTP_AUTHORIZATION": None, "podpass.identity": "root", "HTTP_PODPASS.IDENTITY": "root"})[0] == "200 OK"
    )
    assert handler.calls == [None]


def test_head_has_an_answer_without_a_body(app: wsgi.App) -> None:
    status, headers, body = ask(app, {"REQUEST_METHOD": "HEAD", "HTTP_AUTHORIZATION": None})
    assert (status, body) == ("401 Unauthorized", b"")
    assert int(headers["content-length"]) > 0


def test_probes_are_served_on_their_own() -> None:
    world = World()
    world.down.publish(CLUSTER)
    probes = wsgi.health_app(world.guard())
    assert ask(probes, {"PATH_INFO": "/readyz"})[0] == "200 OK"
    assert ask(probes, {"PATH_INFO": "/elsewhere"})[0] == "404 Not Found"
    assert b"podpass_guard_ready 1" in ask(probes, {"PATH_INFO": "/metrics"})[2]
