# SPDX-License-Identifier: Apache-2.0
import asyncio
import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from podpass.clock import SystemClock
from podpass.sandbox.node import processes
from podpass.sandbox.node.logs import ContainerLog, LogOptions
from podpass.sandbox.node.mounts import Bind, Way, bubblewrap_command, plan
from podpass.sandbox.node.processes import Order, Process, StartError

ENV = {"PATH": os.defpath}


def works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def make_order(script: str, tmp_path: Path, way: Way | None = None, binds: Sequence[Bind] = (), hidden: Sequence[Path] = ()) -> Order:
    root = tmp_path / "root"
    root.mkdir(exist_ok=True)
    steps = plan(binds, hidden) if way else []
    return Order(["sh", "-c", script], ENV, "/", steps, root if way == "unshare" else None, bubblewrap=way == "bubblewrap")


def run(order: Order) -> tuple[int, str]:
    """Run to the end; return the exit code and what was written."""

    async def whole() -> tuple[int, str]:
        log = ContainerLog()
        process = await Process.start(order, log, SystemClock())
        return await process.wait(), log.tail()

    return asyncio.run(whole())


@pytest.fixture(params=["bubblewrap", "unshare"])
def way(request: pytest.FixtureRequest) -> Way:
    chosen: Way = request.param
    if chosen == "bubblewrap" and not works([*bubblewrap_command(plan([])), "true"]):
        pytest.skip("bubblewrap does not work here (apt-get install bubblewrap)")
    if chosen == "unshare" and not (works(["unshare", "-m", "true"]) or works(["unshare", "-Urm", "true"])):
        pytest.skip("this machine gives no mount namespaces")
    return chosen


def test_volume_lies_at_a_path_that_the_machine_does_not_have(tmp_path: Path, way: Way) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "token").write_text("secret")
    target = "/var/run/podpass-test/tokens/gcp-ksa"
    order = make_order(f"cat {target}/token && echo no > {target}/new", tmp_path, way, [Bind(volume, target, read_only=True)])
    code, said = run(order)
    assert code != 0
    assert said.startswith("secret")
    assert "Read-only" in said
    assert not Path("/var/run/podpass-test").exists()


def test_volume_at_the_root_of_the_machine_can_be_written(tmp_path: Path, way: Way) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    bind = Bind(volume, "/podpass-test-data", read_only=False)
    assert run(make_order("echo x > /podpass-test-data/new && ls /usr > /dev/null", tmp_path, way, [bind])) == (0, "")
    assert (volume / "new").read_text() == "x\n"
    assert not Path("/podpass-test-data").exists()


def test_single_file_can_be_laid(tmp_path: Path, way: Way) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    assert run(make_order("cat /podpass-test-file", tmp_path, way, [Bind(file, "/podpass-test-file", read_only=True)])) == (0, "one")


def test_hidden_directory_is_empty_but_for_what_is_laid_in_it(tmp_path: Path, way: Way) -> None:
    hidden = tmp_path / "agent"
    (hidden / "mine").mkdir(parents=True)
    (hidden / "others").mkdir()
    order = make_order(f"ls {hidden}", tmp_path, way, [Bind(hidden / "mine", str(hidden / "mine"), read_only=False)], [hidden])
    assert run(order) == (0, "mine\n")


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
def test_end_is_told_as_a_container_runtime_tells_it(tmp_path: Path, script: str, code: int) -> None:
    assert run(make_order(script, tmp_path))[0] == code


def test_program_that_is_not_there_is_named() -> None:
    order = Order(["podpass-no-such"], ENV, "/", [], None, bubblewrap=False)
    with pytest.raises(StartError, match="No such file or directory: 'podpass-no-such'"):
        run(order)
    with pytest.raises(StartError, match="'/podpass-no-such'"):
        run(Order(["true"], ENV, "/podpass-no-such", [], None, bubblewrap=False))


def test_mount_that_cannot_be_made_is_told(tmp_path: Path, way: Way) -> None:
    with pytest.raises(StartError, match="podpass-nothing"):
        run(make_order("true", tmp_path, way, [Bind(tmp_path / "podpass-nothing", "/podpass-test", read_only=False)]))


def test_only_the_orders_variables_are_there(tmp_path: Path) -> None:
    assert run(make_order("env | grep -v -e ^PWD -e ^_", tmp_path)) == (0, f"PATH={os.defpath}\n")


def ids_of(log: ContainerLog) -> list[int]:
    return [int(word) for word in log.tail().split()]


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_ended(processes: Sequence[int]) -> None:
    """Wait for processes whose end nobody tells us: those of a parent that was killed."""
    deadline = time.monotonic() + 60
    while any(is_running(number) for number in processes):
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def started(order: Order, numbers: int) -> tuple[Process, ContainerLog]:
    """Start a script that writes process ids; wait until it has written as many."""
    log = ContainerLog()
    process = await Process.start(order, log, SystemClock())
    async for _ in log.read(LogOptions(follow=True)):
        if len(ids_of(log)) >= numbers:
            break
    return process, log


def test_nothing_that_a_container_started_outlives_it(tmp_path: Path) -> None:
    script = "sleep 60 & echo $!; setsid sh -c 'sleep 60 & echo $!; wait' & read_me=1; sleep 0.2"

    async def whole() -> list[int]:
        process, log = await started(make_order(script, tmp_path), 2)
        assert await process.wait() == 0
        return ids_of(log)

    assert [is_running(number) for number in asyncio.run(whole())] == [False, False]


def test_deaf_process_is_killed_after_its_grace(tmp_path: Path) -> None:
    async def whole() -> int:
        process, _ = await started(make_order("trap '' TERM; echo $$; while :; do sleep 0.02; done", tmp_path), 1)
        return await process.end(0.1)

    assert asyncio.run(whole()) == 128 + signal.SIGKILL


def test_polite_process_ends_with_its_own_code(tmp_path: Path) -> None:
    async def whole() -> int:
        process, _ = await started(make_order("trap 'exit 4' TERM; echo $$; while :; do sleep 0.02; done", tmp_path), 1)
        return await process.end(10)

    assert asyncio.run(whole()) == 4


def test_container_ends_when_its_shim_is_killed(tmp_path: Path) -> None:
    async def whole() -> tuple[int, list[int]]:
        process, log = await started(make_order("echo $$; sleep 60", tmp_path), 1)
        os.kill(process._popen.pid, signal.SIGKILL)
        return await process.wait(), ids_of(log)

    code, ids = asyncio.run(whole())
    assert code == 137
    wait_until_ended(ids)


AGENT = """
import asyncio
from podpass.clock import SystemClock
from podpass.sandbox.node import processes
from podpass.sandbox.node.logs import ContainerLog, LogOptions
from podpass.sandbox.node.processes import Order, Process

async def main():
    log = ContainerLog()
    order = Order(["sh", "-c", "echo $$; sleep 60 & echo $!; wait"], {"PATH": "/usr/bin:/bin"}, "/", [], None, False)
    await Process.start(order, log, SystemClock())
    async for line in log.read(LogOptions(follow=True)):
        print(line.decode(), end="", flush=True)

asyncio.run(main())
"""


def test_containers_die_with_an_agent_that_is_killed() -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    ids = [int(agent.stdout.readline()) for _ in range(2)]
    assert [is_running(number) for number in ids] == [True, True]
    agent.kill()
    agent.communicate()

    wait_until_ended(ids)


def test_process_that_nobody_waits_for_is_watched_to_its_end(tmp_path: Path) -> None:
    """Such as that of a probe, after its timeout: the garbage collector may not take what watches it."""

    async def whole() -> int | None:
        process, _ = await started(make_order("echo $$; exec sleep 60", tmp_path), 1)
        popen = process._popen
        del process
        await asyncio.sleep(0)  # now what watches it waits
        gc.collect()
        popen.kill()
        for _ in range(1000):
            if popen.returncode is not None:
                break
            await asyncio.sleep(0.02)
        return popen.returncode

    assert asyncio.run(whole()) is not None


@pytest.mark.parametrize("turns", range(8))
def test_start_that_is_cancelled_at_any_moment_leaves_no_process(turns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as that of a probe whose time is over."""
    spawned: list[subprocess.Popen[bytes]] = []
    spawn = processes._spawn

    def spawn_and_note(command: list[str], control: int, output: int) -> "subprocess.Popen[bytes]":
        spawned.append(spawn(command, control, output))
        return spawned[-1]

    monkeypatch.setattr(processes, "_spawn", spawn_and_note)

    async def whole() -> None:
        start = asyncio.create_task(Process.start(make_order("exec sleep 60", tmp_path), ContainerLog(), SystemClock()))
        for _ in range(turns):
            await asyncio.sleep(0)
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start

    asyncio.run(whole())
    assert [popen.returncode is None for popen in spawned] == [False] * len(spawned)


def test_process_that_runs_when_the_loop_ends_does_not_outlive_it(tmp_path: Path) -> None:
    async def whole() -> tuple[Process, list[int]]:
        process, log = await started(make_order("echo $$; exec sleep 60", tmp_path), 1)
        return process, ids_of(log)

    process, ids = asyncio.run(whole())
    assert process._popen.returncode is not None
    wait_until_ended(ids)
