# SPDX-License-Identifier: Apache-2.0
"""The attack table against the verifier, each row with its own code; and the page that shows the table."""

from pathlib import Path

import pytest

from attacks import ATTACKS, PUBLISHED, REQUESTS, SOUND, UNASKED, Attack, tables
from callers import keys_of
from podpass.errors import TokenError
from podpass.names import Audience, Issuer
from podpass.verify import Verifier
from podpass.verify.audience import check_service_audience
from podpass.verify.identity import Identity
from token_forge import AUDIENCE, ISSUER, NOW

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "security.md"
VERIFIER = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=keys_of(*PUBLISHED))
ROWS = [pytest.param(attack, id=f"{group}: {attack.name}") for group, attacks in ATTACKS.items() for attack in attacks]


def judge(token: bytes) -> Identity:
    verified = VERIFIER.verify(token, now=NOW)
    check_service_audience(verified, api_audiences=["my-api"])
    return Identity.of(verified, issuer_name="cluster", kind="kubernetes")


@pytest.mark.parametrize("attack", ROWS)
def test_an_attack_is_refused_with_its_own_code(attack: Attack) -> None:
    with pytest.raises(TokenError) as caught:
        judge(attack.token)
    assert caught.value.full_code == attack.code
    assert not any(part.decode("ascii", "replace") in str(caught.value) for part in attack.token.split(b".") if len(part) > 20)


@pytest.mark.parametrize("token", SOUND)
def test_what_is_sound_is_accepted(token: str) -> None:
    assert judge(token.encode()).subject == "system:serviceaccount:shop:checkout"


@pytest.mark.parametrize("token", UNASKED)
def test_an_algorithm_that_nobody_asked_for_is_refused(token: str) -> None:
    with pytest.raises(TokenError) as caught:
        judge(token.encode())
    assert caught.value.full_code == "token.unsupported-algorithm"


@pytest.mark.parametrize(("title", "shown"), [("Tokens", tables(ATTACKS)), ("Requests", tables(REQUESTS))])
def test_the_page_shows_the_table_and_nothing_else(title: str, shown: str) -> None:
    _, _, section = PAGE.read_text("utf-8").partition(f"\n## {title}\n")
    _, first, rest = section.partition("\n## ")[0].partition("### ")
    assert first + rest.rstrip() == shown, "run tests/attacks.py and put what it prints into the page"
