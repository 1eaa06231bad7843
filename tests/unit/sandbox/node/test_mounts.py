# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

from podpass.sandbox.node.mounts import Bind, Step, bubblewrap_command, plan


def at(steps: list[Step], path: Path | str) -> list[Step]:
    return [step for step in steps if step.path == str(path)]


def test_everything_on_the_machine_is_kept() -> None:
    kept = {step.path for step in plan([])}
    assert kept == {str(path) for path in Path("/").iterdir()}


def test_existing_path_is_laid_over_and_its_parents_stay_whole(tmp_path: Path) -> None:
    target = tmp_path / "etc"
    target.mkdir()
    steps = plan([Bind(tmp_path / "v", str(target), read_only=True)])
    assert at(steps, target) == [Step("bind", str(target), str(tmp_path / "v"), read_only=True)]
    assert [step.verb for step in steps if step.verb == "directory"] == []


def test_missing_path_opens_its_nearest_parent_and_binds_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("")
    (tmp_path / "link").symlink_to("there")
    steps = plan([Bind(tmp_path / "there", str(tmp_path / "not" / "here"), read_only=False)])
    assert at(steps, tmp_path)[0].verb == "directory"
    assert at(steps, tmp_path / "there") == [Step("keep", str(tmp_path / "there"))]
    assert at(steps, tmp_path / "link") == [Step("link", str(tmp_path / "link"), "there")]
    assert steps[-1] == Step("bind", str(tmp_path / "not" / "here"), str(tmp_path / "there"))


def test_mount_path_through_a_link_is_laid_where_the_link_leads(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "var").symlink_to("real")
    steps = plan([Bind(tmp_path, str(tmp_path / "var" / "run"), read_only=False)])
    assert steps[-1].path == str(tmp_path / "real" / "run")


def test_outer_mount_comes_before_the_inner_one_and_after_what_is_hidden(tmp_path: Path) -> None:
    binds = [Bind(tmp_path, f"{tmp_path}/a/b", read_only=False), Bind(tmp_path, f"{tmp_path}/a", read_only=False)]
    assert [step.path for step in plan(binds, hidden=[tmp_path])][-3:] == [str(tmp_path), f"{tmp_path}/a", f"{tmp_path}/a/b"]


def test_bubblewrap_gets_the_plan_as_arguments() -> None:
    steps = [
        Step("directory", "/run", mode=0o755),
        Step("keep", "/run/lock"),
        Step("link", "/bin", "usr/bin"),
        Step("hide", "/w"),
        Step("bind", "/t", "/v", read_only=True),
        Step("bind", "/u", "/w"),
    ]
    binds = "--ro-bind /v /t --bind /w /u"
    rest = "--perms 0755 --dir /run --dev-bind-try /run/lock /run/lock --symlink usr/bin /bin --tmpfs /w"
    assert " ".join(bubblewrap_command(steps)) == f"bwrap {rest} {binds} --"
