# SPDX-License-Identifier: Apache-2.0
import json
from pathlib import Path

from podpass.sandbox.google.universe import Universe
from podpass.sandbox.settings import SandboxSettings
from unit.sandbox.google.world import EMAIL, IAM, World


def test_two_worlds_that_were_told_the_same_look_the_same() -> None:
    dumps = []
    for _ in range(2):
        world = World()
        world.account()
        world.federate()
        dumps.append(world.universe.dump())
    assert dumps[0] == dumps[1]
    text = json.dumps(dumps[0])
    assert not any(name in text for name in ("etag", "uniqueId", "createTime", "visibleFrom_s", "oauth2ClientId"))


def test_a_deleted_account_is_a_tombstone_under_its_email() -> None:
    world = World()
    before = world.universe.dump()
    world.account()
    world.own("DELETE", f"{IAM}/serviceAccounts/{EMAIL}")
    assert world.universe.dump() == {**before, "tombstones": [f"serviceAccount {EMAIL}"]}


def test_a_world_that_is_kept_is_the_same_world(tmp_path: Path) -> None:
    first = World(state_dir=tmp_path)
    first.account()
    dump = first.universe.dump()
    first.universe.close()
    again = Universe(SandboxSettings(state_dir=tmp_path))
    assert again.dump() == dump
    again.close()


def test_what_is_kept_is_for_its_owner_alone(tmp_path: Path) -> None:
    World(state_dir=tmp_path).universe.close()
    assert (tmp_path / "google").stat().st_mode & 0o777 == 0o700
