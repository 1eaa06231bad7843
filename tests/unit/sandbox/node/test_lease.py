# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import pytest

from podpass.sandbox.node.lease import LOCK, Lease, lock, sweep
from podpass.sandbox.node.mounts import Bind, MountError


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    volume = tmp_path / "agent" / "pods" / "uid" / "volumes" / "token"
    volume.mkdir(parents=True)
    (volume / "token").write_text("secret")
    return volume


def test_leased_path_shows_the_volume_and_leaves_no_trace(tmp_path: Path, volume: Path) -> None:
    target = tmp_path / "run" / "secrets" / "gcp-ksa"
    lease = Lease()
    lease.take([Bind(volume, str(target), read_only=True)])
    assert (target / "token").read_text() == "secret"
    lease.release()
    assert not (tmp_path / "run").exists()


def test_second_pod_waits_for_the_path(tmp_path: Path, volume: Path) -> None:
    held = os.fdopen(lock(tmp_path / "agent"))
    bind = Bind(volume, str(tmp_path / "run" / "x"), read_only=True)
    first, second = Lease(), Lease()
    first.take([bind])
    with pytest.raises(MountError, match="a pod or this machine has it"):
        second.take([bind])
    first.release()
    second.take([bind])
    second.release()
    held.close()


def test_path_of_the_machine_is_never_taken(tmp_path: Path, volume: Path) -> None:
    (tmp_path / "etc").mkdir()
    free = tmp_path / "free"
    with pytest.raises(MountError, match="cannot be leased"):
        Lease().take([Bind(volume, str(free), read_only=True), Bind(volume, str(tmp_path / "etc"), read_only=True)])
    assert not free.is_symlink()
    assert (tmp_path / "etc").is_dir()


def test_link_of_a_killed_agent_is_taken_over(tmp_path: Path, volume: Path) -> None:
    os.close(lock(tmp_path / "agent"))  # held by nobody any more, as after SIGKILL
    bind = Bind(volume, str(tmp_path / "x"), read_only=True)
    Lease().take([bind])
    after = Lease()
    after.take([bind])
    after.release()
    assert not (tmp_path / "x").is_symlink()


def test_link_of_an_agent_whose_directory_is_gone_is_taken_over(tmp_path: Path, volume: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "gone" / "pods" / "uid" / "volumes" / "token")
    lease = Lease()
    lease.take([Bind(volume, str(tmp_path / "x"), read_only=True)])
    lease.release()
    assert not (tmp_path / "x").is_symlink()


@pytest.mark.parametrize("target", ["/srv/not-mounted-now", "elsewhere"])
def test_link_of_the_machine_that_leads_nowhere_is_left_alone(tmp_path: Path, volume: Path, target: str) -> None:
    (tmp_path / "x").symlink_to(target)
    with pytest.raises(MountError, match="a pod or this machine has it"):
        Lease().take([Bind(volume, str(tmp_path / "x"), read_only=True)])
    assert str((tmp_path / "x").readlink()) == target


def test_directory_has_one_agent_at_a_time(tmp_path: Path) -> None:
    held = os.fdopen(lock(tmp_path))
    with pytest.raises(MountError, match="belongs to a running sandbox"):
        lock(tmp_path)
    held.close()
    os.close(lock(tmp_path))


def test_what_a_killed_sandbox_left_is_swept_and_nothing_else(tmp_path: Path) -> None:
    for name in ("podpass-x-dead", "podpass-x-alive", "podpass-x-new", "other-dead"):
        (tmp_path / name).mkdir()
        os.close(lock(tmp_path / name))
        if not name.endswith("new"):
            os.utime(tmp_path / name / LOCK, (0, 0))
    (tmp_path / "podpass-x-unlocked").mkdir()
    held = os.fdopen(lock(tmp_path / "podpass-x-alive"))
    sweep(tmp_path, "podpass-x-")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other-dead", "podpass-x-alive", "podpass-x-new", "podpass-x-unlocked"]
    held.close()
