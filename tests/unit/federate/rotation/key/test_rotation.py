# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta

import pytest

from podpass.errors import ConfigError, PlanError
from podpass.federate.rotation.key import gates
from podpass.federate.rotation.key.rotation import Phase, Rotation
from podpass.federate.rotation.servers import ControlPlane, Server
from podpass.names import Secret

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
BEGUN = Rotation.begin({"old", "older"}, "old", timedelta(hours=24))
ANNOUNCED = BEGUN.announced("new")
SWITCHING = ANNOUNCED.stepped()
SWITCHED = SWITCHING.switched(NOW)
RETIRING = SWITCHED.stepped()


def plane(*servers: tuple[set[str], str], silent: tuple[str, ...] = ()) -> ControlPlane:
    found = (Server(f"s{number}", frozenset(kids), signer, Secret("x", "t"), NOW) for number, (kids, signer) in enumerate(servers))
    return ControlPlane(tuple(found), is_complete=True, silent=silent)


ALL = {"old", "older", "new"}


def test_the_steps_come_in_their_order_and_the_old_key_stays_for_the_longest_life() -> None:
    assert [one.phase for one in (BEGUN, ANNOUNCED, SWITCHING, SWITCHED, RETIRING)] == [
        Phase.ANNOUNCE,
        Phase.PUBLISH,
        Phase.SWITCH,
        Phase.WAIT,
        Phase.RETIRE,
    ]
    assert SWITCHING.wait_ends is None
    assert SWITCHED.wait_ends == NOW + timedelta(hours=24)
    assert RETIRING.stays == "new"
    assert RETIRING.leaves == {"old", "older"}
    assert RETIRING.stepped().stepped().phase is Phase.DONE


@pytest.mark.parametrize("rotation", [BEGUN, ANNOUNCED, SWITCHED, SWITCHED.turned_back()])
def test_what_was_written_is_read_again(rotation: Rotation) -> None:
    assert Rotation.from_text(rotation.to_text(), origin="here") == rotation


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 100_000, BEGUN.to_text().replace("announce", "dance"), BEGUN.to_text().replace("v1alpha1", "v9")]
)
def test_what_is_no_rotation_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="not a rotation that this podpass can read"):
        Rotation.from_text(text, origin="here")


@pytest.mark.parametrize(
    ("written", "forged"),
    [
        ('"longestTokenSeconds": 86400', '"longestTokenSeconds": -86400'),
        ('"longestTokenSeconds": 86400', f'"longestTokenSeconds": {10**30}'),
        ('"switchedAt": "2026-11-22T08:00:00+00:00"', '"switchedAt": "2026-11-22T08:00:00"'),
        ('"switchedAt": "2026-11-22T08:00:00+00:00"', '"switchedAt": null'),
        ('"new": "new"', '"new": ""'),
        ('"new": "new"', '"new": "old"'),
        ('"new": "new"', '"new": "\\u001b[2J"'),
        ('"switchedAt": "2026-11-22T08:00:00+00:00"', '"switchedAt": "9999-12-31T08:00:00+00:00"'),
        ('"signer": "old"', '"signer": "other"'),
        ('"old": [', '"old": "old", "former": ['),
        ('"old": [', '"old": [], "former": ['),
    ],
)
def test_a_state_that_no_rotation_has_is_refused(written: str, forged: str) -> None:
    text = SWITCHED.to_text()
    assert written in text
    with pytest.raises(ConfigError, match="not a rotation that this podpass can read"):
        Rotation.from_text(text.replace(written, forged), origin="here")


@pytest.mark.parametrize("phase", ["retire", "forget", "done"])
def test_past_the_wait_without_a_switch_is_a_state_that_no_rotation_has(phase: str) -> None:
    with pytest.raises(ConfigError, match="not a rotation that this podpass can read"):
        Rotation.from_text(SWITCHING.to_text().replace('switch"', f'{phase}"', 1), origin="here")


@pytest.mark.parametrize(
    ("rotation", "phase", "leaves"),
    [
        (BEGUN, Phase.RETIRE, set()),
        (ANNOUNCED, Phase.RETIRE, {"new"}),
        (SWITCHING, Phase.SWITCH, {"new"}),
        (SWITCHED, Phase.SWITCH, {"new"}),
    ],
)
def test_the_way_back_lets_the_new_key_leave_and_waits_for_its_tokens_if_it_may_have_signed(
    rotation: Rotation, phase: Phase, leaves: set[str]
) -> None:
    back = rotation.turned_back()
    assert (back.phase, back.stays) == (phase, "old")
    assert back.leaves == leaves
    with pytest.raises(PlanError, match="goes back already"):
        back.turned_back()


@pytest.mark.parametrize("rotation", [RETIRING, RETIRING.stepped(), RETIRING.stepped().stepped()])
def test_once_servers_may_refuse_the_old_key_there_is_no_way_back(rotation: Rotation) -> None:
    with pytest.raises(PlanError, match="cannot go back any more"):
        rotation.turned_back()


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (plane((ALL, "old"), ({"old", "older"}, "old")), "s1 serves no new key yet"),
        (plane((ALL, "old"), ({"older", "new"}, "old")), "s1 does not serve old…"),
        (plane((ALL, "old"), ({"old", "older", "other"}, "old")), "different new keys"),
        (plane((ALL | {"other"}, "old"), (ALL | {"other"}, "old")), "There are 2 new keys"),
        (plane((ALL, "old"), silent=("s1: gone",)), "No answer: s1: gone"),
    ],
)
def test_the_first_gate_is_closed_until_every_server_serves_both(seen: ControlPlane, reason: str) -> None:
    assert any(reason in one for one in gates.announced(BEGUN, seen))
    assert gates.announced(BEGUN, plane((ALL, "old"), (ALL, "old"))) == []


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        (plane((ALL, "new"), (ALL, "old")), "s1 signs with old…, not yet with new…"),
        (plane((ALL, "new"), ({"new"}, "new")), "s1 does not serve old…, older…"),
        (plane((ALL, "new"), silent=("s1: gone",)), "No answer"),
    ],
)
def test_the_gate_of_the_switch_is_closed_until_every_server_signs_with_the_new_key_and_serves_both(
    seen: ControlPlane, reason: str
) -> None:
    assert any(reason in one for one in gates.switched(SWITCHING, seen))
    assert gates.switched(SWITCHING, plane((ALL, "new"), (ALL, "new"))) == []


def test_the_last_gates_are_closed_while_anybody_has_the_old_key() -> None:
    assert gates.retired(RETIRING, plane(({"new"}, "new"), ({"new", "old"}, "new"))) == ["s1 still serves old…."]
    assert gates.retired(RETIRING, plane(({"new"}, "other"))) == ["s0 signs with other…, not with new…."]
    assert gates.retired(RETIRING, plane(({"new"}, "new"), silent=("s1: gone",))) == ["No answer: s1: gone"]
    assert gates.retired(RETIRING, plane(({"new"}, "new"))) == []
    assert gates.forgotten(RETIRING, {"new", "older"}) == ["Google still trusts older…."]
    assert gates.forgotten(RETIRING, {"new"}) == []
    assert gates.known_to_google(ANNOUNCED, {"new", "old"}) == ["Google does not have older… yet."]
    assert gates.known_to_google(ANNOUNCED, ALL) == []
