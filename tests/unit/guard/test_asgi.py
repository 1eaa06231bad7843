# SPDX-License-Identifier: Apache-2.0
"""What only ASGI has: mounts, missing raw paths, lifespan, frameworks on top."""

import asyncio
import json
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from contract.guard.shells import Handler, drive, scope_of
from guarding import CLUSTER, World, bearer, good
from podpass.guard.asgi import GuardMiddleware, caller, health_app, identity
from podpass.guard.caller import NoCallerError
from token_forge import SUBJECT


async def who(request: Request) -> JSONResponse:
    found = caller(request.scope)
    return JSONResponse({"caller": found.subject if found else None, "path": request.url.path})


async def chat(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text(identity(websocket.scope).subject)
    await websocket.close()


def app() -> Any:  # noqa: ANN401 - TestClient's own idea of an application
    inner = Starlette(routes=[Route("/", who), Route("/private", who), WebSocketRoute("/private/chat", chat)])
    return GuardMiddleware(inner, World().guard())


HEADERS = {"authorization": f"Bearer {good()}"}


def test_starlette_behind_the_guard_knows_its_caller() -> None:
    client = TestClient(app())
    assert client.get("/").json() == {"caller": None, "path": "/"}
    assert client.get("/private", headers=HEADERS).json() == {"caller": SUBJECT, "path": "/private"}
    assert client.get("/private?x=1").json() == {"error": "invalid_token", "code": "token.missing"}
    assert client.get("/private%2F", headers=HEADERS).status_code == 400


def test_a_websocket_of_starlette_knows_its_caller() -> None:
    client = TestClient(app())
    with client.websocket_connect("/private/chat", headers=HEADERS) as socket:
        assert socket.receive_text() == SUBJECT
    with pytest.raises(WebSocketDenialResponse) as denied, client.websocket_connect("/private/chat"):
        pass
    assert denied.value.status_code == 401


def test_a_mounted_guard_judges_the_path_below_its_mount() -> None:
    client = TestClient(Starlette(routes=[Mount("/api", app=app())]))
    assert client.get("/api/private", headers=HEADERS).json()["caller"] == SUBJECT
    assert client.get("/api/private").json()["code"] == "token.missing"
    assert client.get("/api/").status_code == 200


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"raw_path": None}, None),
        ({"raw_path": None, "path": "/private/ö"}, None),
        ({"raw_path": None, "path": "/private/../x"}, "request.ambiguous-path"),
        ({"raw_path": None, "path": "/private/\ud800"}, "request.ambiguous-path"),
        ({"raw_path": b"/private?x=/.."}, None),
        ({"raw_path": b"/private", "path": "/other"}, "request.ambiguous-path"),
        ({"raw_path": b"/v1/private", "path": "/v1/private", "root_path": "/v1"}, None),
        ({"raw_path": b"/private", "path": "/private", "root_path": "/v1"}, None),
        ({"raw_path": b"/private", "path": "/private", "root_path": "/pri"}, "request.ambiguous-path"),
        ({"raw_path": b"/v1/private", "path": "/v1/private", "root_path": "/v1/"}, "request.ambiguous-path"),
    ],
)
def test_invariant_11_what_the_router_would_see_is_judged(changed: dict[str, Any], code: str | None) -> None:
    handler = Handler()
    guarded = GuardMiddleware(handler.asgi, World().guard())
    scope = scope_of("http", "GET", b"/private", [bearer(good())]) | changed
    sent = asyncio.run(drive(guarded, scope))
    assert handler.calls == ([SUBJECT] if code is None else [])
    if code:
        assert json.loads(sent[1]["body"])["code"] == code


def test_invariant_11_a_mount_that_an_application_gives_itself_is_not_judged() -> None:
    fastapi = pytest.importorskip("fastapi")
    inner = fastapi.FastAPI()
    inner.add_api_route("/private", lambda: "served")
    guard = World().guard()
    for each in (inner, CORSMiddleware(inner)):
        client = TestClient(GuardMiddleware(each, guard))
        inner.root_path = ""
        assert client.get("/app/private", headers=HEADERS).json()["code"] == "policy.no-rule"
        inner.root_path = "/app"
        for _ in range(2):
            assert client.get("/app/private", headers=HEADERS).json() == "served"
            assert client.get("/private", headers=HEADERS).json() == "served"
            assert client.get("/app/private").json()["code"] == "token.missing"
            assert client.get("/private").json()["code"] == "token.missing"


def test_a_root_path_that_is_a_folder_is_no_mount() -> None:
    class Quart(Handler):
        root_path = "/private"

        __call__ = Handler.asgi

    handler = Quart()
    sent = asyncio.run(drive(GuardMiddleware(handler, World().guard()), scope_of("http", "GET", b"/private/x", [bearer(good())])))
    assert sent[0]["status"] == 200
    scope = scope_of("http", "GET", b"/private", [])
    asyncio.run(drive(GuardMiddleware(handler, World().guard()), scope))
    assert scope["root_path"] == ""


@pytest.mark.parametrize("root", ["/app", "/x"])
def test_invariant_11_a_router_that_cuts_a_path_in_its_middle_gets_no_such_path(root: str) -> None:
    class Litestar:
        """It takes what stands behind the first mount in the path (litestar 2.25, `_asgi/asgi_router.py`)."""

        __module__ = "litestar.app"

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401 - as ASGI has them
            routed.append(scope["path"].split(root, maxsplit=1)[-1])
            await handler.asgi(scope, receive, send)

    routed: list[str] = []
    handler = Handler()
    guarded = GuardMiddleware(Litestar(), World().guard())
    for path in (f"{root}/private", "/private", f"/private{root}/private", f"/private{root}private", f"{root}/private/a{root}/b"):
        scope = scope_of("http", "GET", path.encode(), [bearer(good())]) | {"root_path": root}
        sent = asyncio.run(drive(guarded, scope))
        is_cut = path.startswith(f"/private{root}")
        assert sent[0]["status"] == (400 if is_cut else 200)
    assert routed == ["/private", "/private", f"/private/a{root}/b"]


def test_a_connection_of_an_unknown_type_is_not_let_through() -> None:
    handler = Handler()
    with pytest.raises(RuntimeError, match="does not know connections of type 'webtransport'"):
        asyncio.run(drive(GuardMiddleware(handler.asgi, World().guard()), {"type": "webtransport"}))
    assert handler.calls == []


def test_the_servers_own_word_reaches_the_application() -> None:
    with TestClient(app()) as client:
        assert client.get("/").status_code == 200


def test_who_calls_is_known_only_behind_a_guard() -> None:
    with pytest.raises(NoCallerError, match="No guard has seen this request"):
        caller({"type": "http"})
    with pytest.raises(NoCallerError, match="has not said who it is"):
        identity({"podpass.identity": None})


def test_probes_are_served_on_their_own() -> None:
    world = World()
    with TestClient(health_app(world.guard())) as client:
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503
        assert client.get("/metrics").text.endswith("podpass_guard_ready 0\n")
    world.down.publish(CLUSTER)
    assert TestClient(health_app(world.guard())).get("/readyz").status_code == 200
    sent = asyncio.run(drive(health_app(world.guard()), scope_of("websocket", "GET", b"/livez", [])))
    assert sent == [{"type": "websocket.close", "code": 1008}]
