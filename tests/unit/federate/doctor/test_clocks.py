# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from podpass.federate.doctor import clocks
from podpass.names import Secret
from token_forge import ec_signer, kubernetes_claims

ISSUED = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def google(date: str | None) -> httpx2.Client:
    headers = {} if date is None else {"date": date}
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(404, headers=headers)))


def token(issued_s: float | None) -> Secret[str]:
    return Secret(ec_signer().token(kubernetes_claims(iat=issued_s)), "subject token")


@pytest.mark.parametrize(
    ("date", "gap"),
    [("Sun, 01 Mar 2026 12:05:00 GMT", timedelta(minutes=-5)), ("Sun, 01 Mar 2026 11:00:00 GMT", timedelta(hours=1))],
)
def test_google_says_the_time_whatever_it_answers(date: str, gap: timedelta) -> None:
    assert clocks.ahead(google(date), token(ISSUED.timestamp())) == gap


@pytest.mark.parametrize("date", [None, "", "soon", "Sun, 01 Mar 2026 12:00:00 -0000"])
def test_without_google_s_time_nothing_is_said(date: str | None) -> None:
    assert clocks.ahead(google(date), token(ISSUED.timestamp())) is None


def test_without_the_token_s_time_or_an_answer_nothing_is_said() -> None:
    assert clocks.ahead(google("Sun, 01 Mar 2026 12:00:00 GMT"), token(None)) is None

    def broken(_: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadError("reset")

    assert clocks.ahead(httpx2.Client(transport=httpx2.MockTransport(broken)), token(ISSUED.timestamp())) is None
