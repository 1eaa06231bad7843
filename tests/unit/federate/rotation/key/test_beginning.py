# SPDX-License-Identifier: Apache-2.0
"""What a rotation of the key does not begin with."""

from datetime import UTC, datetime, timedelta

import pytest

from podpass.errors import PlanError
from podpass.federate.rotation.key.beginning import begin
from podpass.federate.rotation.servers import ControlPlane, Server
from podpass.names import Secret

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
DAY = timedelta(hours=24)


def server(name: str, signer: str = "a", *kids: str) -> Server:
    return Server(name, frozenset(kids or (signer,)), signer, Secret("x", "t"), NOW)


def plane(*servers: Server, silent: tuple[str, ...] = ()) -> ControlPlane:
    return ControlPlane(servers, is_complete=True, silent=silent)


def test_it_begins_with_the_keys_of_now_and_the_one_that_signs() -> None:
    begun = begin(plane(server("s0", "a", "a", "b"), server("s1", "a", "a", "b")), lambda: frozenset({"a", "b", "c"}), DAY)
    assert (begun.old, begun.signer, begun.longest_token) == (frozenset({"a", "b"}), "a", DAY)


@pytest.mark.parametrize(
    ("found", "google", "reason"),
    [
        (plane(server("s0"), silent=("s1: gone.",)), {"a"}, "not every API server answers. No answer: s1: gone. Bring it back first"),
        (plane(server("s0", "a", "a", "b"), server("s1", "b", "a", "b")), {"a", "b"}, "s1 signs with b… and serves 2"),
        (plane(server("s0", "a", "a", "b"), server("s1", "a")), {"a", "b"}, "do not agree on their keys"),
        (plane(server("s0", "a", "a", "b")), {"a"}, "It lacks b…. Run `podpass keys sync` first."),
    ],
)
def test_nothing_is_changed_where_servers_are_silent_or_differ_or_google_lacks_a_key(
    found: ControlPlane, google: set[str], reason: str
) -> None:
    with pytest.raises(PlanError) as caught:
        begin(found, lambda: frozenset(google), DAY)
    assert caught.value.full_code == "plan.rotation"
    assert reason in str(caught.value)
