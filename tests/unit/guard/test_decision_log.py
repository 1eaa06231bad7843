# SPDX-License-Identifier: Apache-2.0
import json
import logging
from typing import Any

import pytest

from guarding import World, bearer, good, google, of
from podpass.guard import Incoming
from token_forge import SUBJECT


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Any:  # noqa: ANN401 - a function of the test's own
    caplog.set_level(logging.INFO, "podpass.guard.decisions")

    def ask(target: bytes, token: str | None = None, mode: str = "enforce", method: str = "GET") -> dict[str, Any]:
        World(mode).guard().decide(Incoming(method, target, [bearer(token)] if token else []))
        line = caplog.records[-1].getMessage()
        assert line.isascii()
        assert line.isprintable()
        read: dict[str, Any] = json.loads(line)
        return read

    return ask


def test_a_line_says_who_what_verdict_and_reason(lines: Any) -> None:  # noqa: ANN401 - as above
    assert lines(b"/private", good()) == {
        "time": "2026-03-01T12:00:00.000+00:00",
        "verdict": "allow",
        "code": None,
        "reason": "rule private admits the caller",
        "rule": "private",
        "policy": "contract",
        "caller": {"issuer": "cluster", "subject": SUBJECT},
        "method": "GET",
        "path": "/private",
    }
    denied = lines(b"/private", google())
    assert (denied["verdict"], denied["status"], denied["code"]) == ("deny", 403, "policy.not-a-member")
    assert denied["caller"]["email"] == "gke-gsa@demo-project.iam.gserviceaccount.com"
    audited = lines(b"/private", of("shop", "cart"), "audit")
    assert (audited["verdict"], audited["code"], audited["rule"]) == ("audit", "policy.not-a-member", "private")
    assert lines(b"/")["caller"] is None


def test_a_line_is_one_line_whatever_is_asked_for(lines: Any) -> None:  # noqa: ANN401 - as above
    assert lines(b"/a\n\x1b[31m\xff" + b"x" * 600)["path"].startswith("/a\n\ufffd[31m\\xff")
    assert len(lines(b"/" + b"x" * 9000)["path"]) == 512
    assert len(lines(b"/", method="X" * 100)["method"]) == 32


def test_invariant_4_a_token_in_a_path_is_left_out(lines: Any) -> None:  # noqa: ANN401 - as above
    assert lines(f"/private/{good()}".encode(), good())["path"] == "/private/…"


def test_nothing_is_written_where_nobody_listens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR, "podpass.guard.decisions")
    World().guard().decide(Incoming("GET", b"/private", []))
    assert caplog.records == []
