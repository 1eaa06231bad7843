# SPDX-License-Identifier: Apache-2.0
from typing import Any

from podpass.sandbox.kubernetes.jobs import _Known


def obj(uid: str, version: int) -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": str(version)}}


def event(kind: str, uid: str, version: int) -> dict[str, Any]:
    return {"type": kind, "object": obj(uid, version)}


def test_older_news_of_an_object_is_passed_over() -> None:
    known = _Known()
    known.keep(obj("a", 7))
    known.note(event("MODIFIED", "a", 5))
    assert known.all() == [obj("a", 7)]


def test_answer_that_comes_after_the_end_revives_nothing() -> None:
    known = _Known()
    known.keep(obj("a", 7))
    known.note(event("DELETED", "a", 9))
    known.keep(obj("a", 8))
    assert known.all() == []


def test_fresh_list_takes_away_what_it_does_not_name_but_not_what_was_made_meanwhile() -> None:
    known = _Known()
    for uid in ("a", "b"):
        known.keep(obj(uid, 1))
    known.note({"type": "RESTARTED"})
    known.note(event("ADDED", "a", 1))
    known.keep(obj("made", 5))
    known.note({"type": "LISTED"})
    assert known.all() == [obj("a", 1), obj("made", 5)]
    assert known.listed
