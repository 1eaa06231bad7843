# SPDX-License-Identifier: Apache-2.0
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from podpass.sandbox.node import atomic
from podpass.sandbox.node.atomic import Content
from podpass.sandbox.node.mounts import MountError

NOW = datetime(2026, 11, 22, 4, 5, 6, tzinfo=UTC)


def payload(**files: str) -> dict[str, Content]:
    return {name: Content(text.encode(), 0o644) for name, text in files.items()}


def test_visible_names_are_links_through_data(tmp_path: Path) -> None:
    assert atomic.write(tmp_path, payload(token="a"), NOW)
    assert (tmp_path / "token").readlink() == Path("..data/token")
    assert str((tmp_path / "..data").readlink()).startswith("..2026_11_22_04_05_06.")
    assert (tmp_path / "token").read_text() == "a"


def test_same_files_are_not_written_again(tmp_path: Path) -> None:
    atomic.write(tmp_path, payload(token="a"), NOW)
    before = (tmp_path / "..data").readlink()
    assert not atomic.write(tmp_path, payload(token="a"), NOW)
    assert (tmp_path / "..data").readlink() == before


def test_changed_mode_is_a_change(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"token": Content(b"a", 0o644)}, NOW)
    assert atomic.write(tmp_path, {"token": Content(b"a", 0o600)}, NOW)
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600


def test_old_names_and_old_files_go(tmp_path: Path) -> None:
    atomic.write(tmp_path, {**payload(old="x"), "deep/er": Content(b"y", 0o644)}, NOW)
    atomic.write(tmp_path, payload(new="z"), NOW)
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith("..2026")) == ["..data", "new"]
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("..2026")]) == 1


def test_empty_payload_is_an_empty_volume(tmp_path: Path) -> None:
    atomic.write(tmp_path, payload(only="x"), NOW)
    atomic.write(tmp_path, {}, NOW)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith("..")] == []


def test_reader_never_sees_files_of_two_versions(tmp_path: Path) -> None:
    atomic.write(tmp_path, payload(a="0", b="0"), NOW)
    torn: list[tuple[str, str]] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            version = tmp_path / (tmp_path / "..data").readlink()
            try:
                pair = (version / "a").read_text(), (version / "b").read_text()
            except FileNotFoundError:  # that version is gone already: a reader opens it anew
                continue
            if pair[0] != pair[1]:
                torn.append(pair)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(1, 150):
        atomic.write(tmp_path, payload(a=str(number), b=str(number)), NOW)
        assert (tmp_path / "a").exists()
    done.set()
    reader.join()
    assert torn == []


@pytest.mark.parametrize("path", ["../up", "/root", "..data", "a/../../b", "", "..x/y"])
def test_path_that_leaves_the_volume_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(MountError, match="cannot be a file of a volume"):
        atomic.write(tmp_path, {path: Content(b"", 0o644)}, NOW)
