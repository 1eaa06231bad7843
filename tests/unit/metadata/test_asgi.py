# SPDX-License-Identifier: Apache-2.0
"""The shell: what it awaits, what it does when that fails, and who may wait for a change."""

import asyncio
import json
import logging
from collections.abc import Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podpass.clock import SteppedClock
from podpass.errors import ExchangeUnavailableError, PodpassError
from podpass.exchange.tokens import AccessToken, IdToken
from podpass.metadata.asgi import MetadataApp
from podpass.metadata.caller import Peer
from podpass.metadata.health import Health
from podpass.metadata.incoming import Gate
from podpass.metadata.tree import Facts, Machine, Tree, tree_of
from podpass.names import Secret

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FACTS = Facts("shop-sa@demo-project.iam.gserviceaccount.com", "123", "demo-project", Machine("node-1", 1))
ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default/"
HEADERS = [(b"host", b"127.0.0.1:8987"), (b"metadata-flavor", b"Google")]


class Pod:
    """The one workload, as the test wants it; `error` is raised for every token."""

    def __init__(self) -> None:
        self.known = tree_of(FACTS)
        self.error: Exception | None = None
        self.peers: list[Peer | None] = []
        self.changed = asyncio.Event()
        self.changes_while_asked = False

    async def find(self, peer: Peer | None) -> "Pod":
        self.peers.append(peer)
        return self

    async def tree(self) -> Tree:
        return self.known

    async def another_tree(self, known: Tree) -> Tree:
        while self.known is known and not self.changed.is_set():
            await self.changed.wait()
        return self.known

    async def access_token(self, scopes: tuple[str, ...] | None) -> AccessToken:
        if self.changes_while_asked:
            self.changes_while_asked = False
            self.change()
            if self.error:
                error, self.error = self.error, None
                raise error
        elif self.error:
            raise self.error
        return AccessToken(Secret(f"ya29.{scopes}", "access token"), NOW + timedelta(hours=1))

    async def id_token(self, audience: str) -> IdToken:
        if self.error:
            raise self.error
        return IdToken(Secret(f"jwt for {audience}", "ID token"), NOW)

    def change(self) -> None:
        self.known = tree_of(replace(FACTS, email="other@demo-project.iam.gserviceaccount.com"))
        self.changed.set()


async def let_others_run() -> None:
    """Give each task its turn until all of them wait."""
    for _ in range(100):
        await asyncio.sleep(0)


class Door:
    """Sends requests to the application as a server does."""

    def __init__(self) -> None:
        self.pod = Pod()
        self.health = Health(lambda: "exchange.unavailable" if self.pod.error else None)
        self.app = MetadataApp(self.pod, Gate.for_port(8987), self.health, health_port=9090, clock=SteppedClock(NOW))
        self.gone = asyncio.Event()

    async def send(self, target: str, method: str = "GET", headers: Any = HEADERS, port: int = 8987) -> tuple[int, dict[str, str], bytes]:  # noqa: ANN401
        path, _, query = target.partition("?")
        sent: list[Any] = []
        scope: dict[str, Any] = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": query.encode()}
        scope |= {"headers": headers, "client": ("127.0.0.1", 5), "server": ("127.0.0.1", port)}
        first = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:  # noqa: ANN401 - as servers
            if first:
                return first.pop()
            await self.gone.wait()
            return {"type": "http.disconnect"}

        async def answer(message: Any) -> None:  # noqa: ANN401 - as servers
            sent.append(message)

        await self.app(scope, receive, answer)
        start, body = sent
        return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 60))


def test_an_access_token_is_answered_with_the_life_that_it_has() -> None:
    async def story() -> None:
        door = Door()
        status, headers, body = await door.send(f"{ACCOUNT}token?scopes=a")
        assert status == 200
        assert json.loads(body) == {"access_token": "ya29.('a',)", "expires_in": 3600, "token_type": "Bearer"}
        assert (headers["metadata-flavor"], headers["content-type"]) == ("Google", "application/json")
        assert door.pod.peers == [("127.0.0.1", 5)]

    run(story())


def test_an_id_token_is_answered_as_text() -> None:
    async def story() -> None:
        status, headers, body = await Door().send(f"{ACCOUNT}identity?audience=orders")
        assert (status, headers["content-type"], body) == (200, "application/text", b"jwt for orders")

    run(story())


def test_head_is_get_without_the_body() -> None:
    async def story() -> None:
        _, expected, content = await Door().send(f"{ACCOUNT}email")
        status, headers, body = await Door().send(f"{ACCOUNT}email", "HEAD")
        assert (status, headers, body) == (200, expected, b"")
        assert headers["content-length"] == str(len(content))

    run(story())


def test_the_ping_does_not_ask_who_the_workload_is() -> None:
    async def story() -> None:
        door = Door()
        assert (await door.send("/"))[0] == 200
        assert door.pod.peers == []

    run(story())


def test_a_token_that_cannot_be_had_is_refused_with_every_header() -> None:
    async def story() -> None:
        door = Door()
        door.pod.error = ExchangeUnavailableError("Google is away.", retry_after_s=3)
        status, headers, body = await door.send(f"{ACCOUNT}token")
        assert (status, headers["retry-after"], headers["metadata-flavor"]) == (503, "3", "Google")
        assert body == b"Unable to generate access token; Google is away.\n[exchange.unavailable]\n"
        assert (await door.send(f"{ACCOUNT}identity?audience=a"))[2].startswith(b"Unable to generate identity token; ")

    run(story())


def test_a_token_of_an_identity_that_has_changed_meanwhile_is_not_answered() -> None:
    async def story() -> None:
        door = Door()
        door.pod.changes_while_asked = True
        named = ACCOUNT.replace("default", FACTS.email)
        assert (await door.send(f"{named}token"))[0] == 404
        door.pod.changes_while_asked, door.pod.error = True, ExchangeUnavailableError("It is closed.", retry_after_s=1)
        assert (await door.send(f"{ACCOUNT}token"))[0] == 200

    run(story())


def test_a_mistake_of_our_own_is_500_and_neither_answer_nor_log_hold_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        door = Door()
        door.pod.error = ValueError("ya29.secret")
        status, headers, body = await door.send(f"{ACCOUNT}token")
        assert (status, headers["metadata-flavor"]) == (500, "Google")
        assert b"secret" not in body

    with caplog.at_level(logging.DEBUG):
        run(story())
    assert "A request for a token failed: ValueError." in caplog.text
    assert "secret" not in caplog.text


def test_nothing_but_http_is_served() -> None:
    async def story() -> None:
        for kind in ("websocket", "lifespan"):
            with pytest.raises(RuntimeError):
                await Door().app({"type": kind}, None, None)  # type: ignore[arg-type] # neither is called

    run(story())


def test_the_health_port_answers_probes_and_never_a_token() -> None:
    async def story() -> None:
        door = Door()
        assert (await door.send(f"{ACCOUNT}token", port=9090))[0] == 404
        assert (await door.send("/", port=9090))[0] == 404
        assert (await door.send("/livez", port=9090, headers=[]))[2] == b"alive\n"
        assert (await door.send("/readyz", port=9090, headers=[]))[:3:2] == (200, b"ready\n")
        assert door.pod.peers == []

    run(story())


def test_probes_say_why_not_ready_by_a_code_alone() -> None:
    async def story() -> None:
        door = Door()
        door.pod.error = PodpassError("x")
        assert (await door.send("/readyz"))[:3:2] == (503, b"exchange.unavailable\n")

    run(story())


def test_requests_are_counted_by_what_they_asked_for() -> None:
    async def story() -> None:
        door = Door()
        for target in (f"{ACCOUNT}token", f"{ACCOUNT}token", f"{ACCOUNT}email", "/nope", f"{ACCOUNT}identity"):
            await door.send(target)
        await door.send(f"{ACCOUNT}token", "POST")
        lines = (await door.send("/metrics"))[2].decode().splitlines()
        assert [line for line in lines if not line.startswith("#")] == [
            'podpass_metadata_requests_total{kind="identity",status="400"} 1',
            'podpass_metadata_requests_total{kind="refused",status="405"} 1',
            'podpass_metadata_requests_total{kind="token",status="200"} 2',
            'podpass_metadata_requests_total{kind="value",status="200"} 1',
            'podpass_metadata_requests_total{kind="value",status="404"} 1',
            "podpass_metadata_ready 1",
        ]

    run(story())


def test_a_client_that_waits_is_answered_when_the_value_is_another_one() -> None:
    async def story() -> None:
        door = Door()
        _, headers, _ = await door.send(f"{ACCOUNT}email")
        waiting = asyncio.create_task(door.send(f"{ACCOUNT}email?wait_for_change=true&last_etag={headers['etag']}"))
        await let_others_run()
        assert not waiting.done()
        door.pod.change()
        status, changed, body = await waiting
        assert (status, body) == (200, b"other@demo-project.iam.gserviceaccount.com")
        assert changed["etag"] != headers["etag"]

    run(story())


def test_a_client_that_has_an_old_value_does_not_wait() -> None:
    async def story() -> None:
        assert (await Door().send(f"{ACCOUNT}email?wait_for_change=true&last_etag=0"))[0] == 200

    run(story())


def test_a_client_s_own_time_limit_and_its_leaving_end_the_wait_with_the_value_as_it_is() -> None:
    async def story() -> None:
        door = Door()
        assert (await door.send(f"{ACCOUNT}email?wait_for_change=true&timeout_sec=0"))[2].startswith(b"shop-sa@")
        waiting = asyncio.create_task(door.send(f"{ACCOUNT}email?wait_for_change=true"))
        await let_others_run()
        door.gone.set()
        assert (await waiting)[0] == 200

    run(story())


def test_the_end_of_the_server_ends_the_wait() -> None:
    async def story() -> None:
        door = Door()
        waiting = asyncio.create_task(door.send(f"{ACCOUNT}email?wait_for_change=true"))
        await let_others_run()
        door.pod.changed.set()
        assert (await waiting)[0] == 200

    run(story())


def test_no_more_clients_wait_than_the_server_can_hold() -> None:
    async def story() -> None:
        door = Door()
        waiting = [asyncio.create_task(door.send(f"{ACCOUNT}email?wait_for_change=true")) for _ in range(64)]
        await let_others_run()
        assert (await door.send(f"{ACCOUNT}email?wait_for_change=true"))[0] == 503
        assert (await door.send(f"{ACCOUNT}email"))[0] == 200
        door.pod.change()
        assert {(await each)[0] for each in waiting} == {200}
        assert (await door.send(f"{ACCOUNT}email?wait_for_change=true&timeout_sec=0"))[0] == 200

    run(story())
