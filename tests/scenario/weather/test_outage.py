# SPDX-License-Identifier: Apache-2.0
"""STS and IAM Credentials fail for ten minutes, in every way they can: who has a token notices nothing, and nobody storms back."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from podpass.errors import ExchangeUnavailableError
from podpass.exchange import wire
from podpass.exchange.tokens import AccessToken
from scenario.weather.fleet import TOKEN, Pod, World, metadata_server

PODS = 8
END_S = 3400
STEP_S = 5
KINDS: dict[str, dict[str, Any]] = {
    "500": {"error": 500},
    "429": {"error": 429, "retryAfter": 30},
    "reset": {"connection": "reset"},
    "slow": {"delayMs": 300},
}


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def outage(world: World, kind: str, after: int, until: int) -> None:
    """Have both services fail from a moment to another one."""
    when = {"after": after, "until": until}
    world.weather(*({"match": {"method": method}, "when": when, "then": KINDS[kind]} for method in ("sts.*", "iamcredentials.*")))


def fleet(world: World, kind: str) -> list[Pod]:
    """Return pods with a token each; few of them where each failure takes real time."""
    pods = [Pod(world, number) for number in range(2 if kind == "slow" else PODS)]
    assert all(isinstance(pod.ask(), AccessToken) for pod in pods)
    return pods


@pytest.mark.parametrize("kind", KINDS)
def test_pods_with_living_tokens_notice_nothing_and_nobody_storms_back(world: World, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tokens become due for renewal in the ten minutes, none of them ends."""
    pods, patient = fleet(world, kind), wire.DEADLINE_S
    outage(world, kind, END_S - 600, END_S)
    begun = away = len(world.sandbox.requests())
    returning: list[int] = []
    for elapsed in world.seconds(3600, STEP_S):
        # Only where every answer comes too late is the deadline a short one: a busy machine may be slow, too.
        is_slow = kind == "slow" and END_S - 600 <= elapsed < END_S
        monkeypatch.setattr(wire, "DEADLINE_S", 0.1 if is_slow else patient)
        before = len(world.sandbox.requests())
        told = [pod.ask() for pod in pods]
        assert all(isinstance(each, AccessToken) and each.expires_at > world.clock.now() for each in told), (elapsed, told)
        if elapsed < END_S:
            away = len(world.sandbox.requests())
        else:
            returning.append(len(world.sandbox.requests()) - before)
    # A pause is half a minute at least once it has grown, so ten minutes hold some twenty; a few more come while it grows.
    assert 5 * len(pods) < away - begun <= 25 * len(pods)
    # Each is back within the longest pause, at a moment of its own, for one token and perhaps the federated one before it.
    assert len(pods) <= sum(returning) <= 2 * len(pods)
    assert sum(returning[: 75 // STEP_S]) == sum(returning)
    assert max(returning) <= max(len(pods) // 2, 2)


def test_when_tokens_have_ended_pods_are_told_so_and_when_to_come_back(world: World) -> None:
    """Tokens are renewed until the outage begins and end, all of them, before it does."""
    pods = fleet(world, "429")
    outage(world, "429", 2800, 4200)
    told: list[ExchangeUnavailableError] = []
    for elapsed in world.seconds(4400, STEP_S):
        begun = len(world.sandbox.requests())
        answers = [pod.ask() for pod in pods]
        failed = [each for each in answers if isinstance(each, ExchangeUnavailableError)]
        # The last half minute of a token's life is not handed out.
        assert bool(failed) == (3570 <= elapsed < 4200) or 4200 <= elapsed < 4275, (elapsed, answers)
        assert not failed or len(failed) == len(pods) or elapsed >= 4200
        assert len(world.sandbox.requests()) - begun <= len(pods)
        told += failed
    assert all(1 <= error.retry_after_s <= 61 for error in told)
    assert {error.full_code for error in told} == {"exchange.unavailable"}
    assert re.fullmatch(
        r"There is no access token at hand, and none can be had now\. .* \(429 RESOURCE_EXHAUSTED\)\. "
        r"Resource has been exhausted \(e\.g\. check quota\)\. Ask again in \d+ s\.",
        str(told[0]),
    ), str(told[0])


def test_the_metadata_server_serves_living_tokens_then_says_503_then_tokens_again(world: World, tmp_path: Path) -> None:
    outage(world, "500", 2800, 4200)
    statuses: dict[int, set[int]] = {}

    async def story() -> str:
        last = ""
        async with metadata_server(world, tmp_path / "token") as client:
            for elapsed in world.seconds(4400, 20):
                answer = await client.get(TOKEN)
                phase = sum(elapsed >= boundary for boundary in (3570, 4200, 4275))
                statuses.setdefault(phase, set()).add(answer.status_code)
                if answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE:
                    assert 1 <= int(answer.headers["retry-after"]) <= 61
                    last = answer.text
                else:
                    assert answer.json()["expires_in"] > 0
        return last

    told = asyncio.run(story())
    assert (statuses[0], statuses[1], statuses[3]) == ({200}, {503}, {200})
    assert told.startswith("Unable to generate access token; There is no access token at hand, and none can be had now.\n"), told
    assert told.endswith("[exchange.unavailable]\n"), told
