# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from podpass.sandbox.store import CompactedError, ConflictError, Event, Store


@pytest.fixture(params=["memory", "directory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return Store(tmp_path if request.param == "directory" else None)


def test_a_record_is_its_reader_s_own_copy(store: Store) -> None:
    value = {"list": [1]}
    written = store.put("pool", "a", value)
    value["list"].append(2)
    written.value["list"].append(3)
    read = store.get("pool", "a")
    assert read
    assert read.value == {"list": [1]}
    read.value["list"].append(4)
    assert store.select("pool")[0].value == {"list": [1]}
    store.close()


def test_a_write_states_what_it_has_read(store: Store) -> None:
    first = store.put("pool", "a", {}, expect=0)
    with pytest.raises(ConflictError):
        store.put("pool", "a", {}, expect=0)
    second = store.put("pool", "a", {"x": 1}, expect=first.revision)
    assert second.revision == first.revision + 1
    for stale in (0, first.revision):
        with pytest.raises(ConflictError):
            store.delete("pool", "a", expect=stale)
    assert store.delete("pool", "a", expect=second.revision)
    assert store.delete("pool", "a") is None
    store.close()


def test_records_are_selected_by_prefix_in_the_order_of_their_keys(store: Store) -> None:
    for key in ("b/2", "a/1", "b/1"):
        store.put("object", key, {})
    store.put("bucket", "b", {})
    assert [each.key for each in store.select("object", "b/")] == ["b/1", "b/2"]
    assert [each.key for each in store.select("object")] == ["a/1", "b/1", "b/2"]
    assert store.kinds() == ("bucket", "object")
    store.close()


def test_events_are_replayed_from_any_revision_that_is_kept(store: Store) -> None:
    store.put("pod", "a", {"v": 1})
    since = store.revision
    store.put("pod", "a", {"v": 2})
    store.put("node", "n", {})
    store.delete("pod", "a")
    events = store.since(since, "pod")
    assert [(each.type, each.record.key, each.record.value["v"]) for each in events] == [("MODIFIED", "a", 2), ("DELETED", "a", 2)]
    assert [each.record.revision for each in events] == [since + 1, since + 3]
    assert store.since(store.revision, "pod") == []
    store.close()


def test_events_that_are_forgotten_are_missed_loudly(store: Store) -> None:
    store.put("pod", "early", {})
    since = store.revision
    for number in range(store._events.maxlen or 0):
        store.put("pod", "a", {"v": number})
    assert len(store.since(since, "pod")) == store._events.maxlen
    store.put("pod", "a", {})
    with pytest.raises(CompactedError):
        store.since(since, "pod")
    store.close()


def test_a_listener_hears_each_event_before_the_write_returns(store: Store) -> None:
    heard: list[Event] = []
    with store.listening(heard.append):
        store.put("pod", "a", {})
        assert [each.type for each in heard] == ["ADDED"]
        store.delete("pod", "a")
    store.put("pod", "b", {})
    assert [each.type for each in heard] == ["ADDED", "DELETED"]
    store.close()


def test_blobs_are_kept_until_dropped(store: Store) -> None:
    blob = store.add_blob(b"\x00\xff")
    assert store.blob(blob) == b"\x00\xff"
    store.drop_blob(blob)
    with pytest.raises((KeyError, FileNotFoundError)):
        store.blob(blob)
    store.close()


def test_a_directory_remembers(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("pool", "a", {"v": 1})
    kept = store.put("pool", "a", {"v": 2})
    blob = store.add_blob(b"content")
    store.put("pool", "gone", {})
    store.delete("pool", "gone")
    revision = store.revision
    store.close()
    again = Store(tmp_path)
    assert again.select("pool") == [kept]
    assert again.revision == revision
    assert again.blob(blob) == b"content"
    with pytest.raises(CompactedError):  # the log of events begins anew
        again.since(revision - 1, "pool")
    again.close()


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put("pool", "a", {})
    store.put("pool", "b", {})
    store.close()
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    again = Store(tmp_path)
    assert [each.key for each in again.select("pool")] == ["a"]
    again.put("pool", "c", {})
    again.close()
    third = Store(tmp_path)
    assert [each.key for each in third.select("pool")] == ["a", "c"]
    third.close()
