# SPDX-License-Identifier: Apache-2.0
"""The attack table against every shell: the handler has not run, and the caller is told the code of the row."""

from collections.abc import Iterator

import pytest

from attacks import ATTACKS, PUBLISHED, REQUESTS, SOUND, Attack
from contract.guard.prefork import PREFORK
from contract.guard.shells import SHELLS, Ask, Handler, Shell
from guarding import LiveKeys, World, bearer

# A server's own parser ends a header at some of these octets, or refuses the request; what it lets through is the guard's.
SERVERS = ("uvicorn", "gunicorn", "gevent")


@pytest.fixture(scope="module", params=SHELLS + PREFORK, ids=lambda shell: shell.name)
def served(request: pytest.FixtureRequest) -> Iterator[tuple[Shell, Ask, Handler]]:
    shell: Shell = request.param
    handler = shell.handler()
    with shell.serve(World(cluster=LiveKeys(PUBLISHED)).guard(), handler) as ask:
        yield shell, ask, handler


@pytest.mark.parametrize("group", ATTACKS)
def test_invariant_1_no_attack_reaches_the_handler(served: tuple[Shell, Ask, Handler], group: str) -> None:
    shell, ask, handler = served
    handler.forget()
    seen = {attack.name: ask("GET", b"/private", headers(attack)).code for attack in ATTACKS[group] if reaches(shell, attack)}
    assert seen == {attack.name: attack.guard_code for attack in ATTACKS[group] if reaches(shell, attack)}
    assert seen
    assert handler.calls == []


@pytest.mark.parametrize("group", REQUESTS)
def test_invariant_1_no_attack_by_a_request_reaches_the_handler(served: tuple[Shell, Ask, Handler], group: str) -> None:
    shell, ask, handler = served
    handler.forget()
    reaching = [attack for attack in REQUESTS[group] if not shell.unseen(attack.target, list(attack.headers))]
    seen = {attack.name: ask(attack.method, attack.target, list(attack.headers)).code for attack in reaching}
    assert seen == {attack.name: attack.code for attack in reaching}
    assert len(seen) > 5
    assert handler.calls == []


def test_what_is_sound_reaches_the_handler(served: tuple[Shell, Ask, Handler]) -> None:
    _, ask, handler = served
    handler.forget()
    for token in SOUND:
        assert ask("GET", b"/private", [bearer(token)]).status == 200
    assert handler.calls == ["system:serviceaccount:shop:checkout"] * len(SOUND)


def headers(attack: Attack) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + attack.token)]


def reaches(shell: Shell, attack: Attack) -> bool:
    if shell.unseen(b"/private", headers(attack)):
        return False
    return attack.is_plain or not shell.name.startswith(SERVERS)
