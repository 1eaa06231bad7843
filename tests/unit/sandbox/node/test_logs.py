# SPDX-License-Identifier: Apache-2.0
import asyncio
from datetime import UTC, datetime, timedelta

from podpass.sandbox.node.logs import ContainerLog, LogOptions

NOW = datetime(2026, 11, 22, 4, 5, 6, 789000, tzinfo=UTC)


def read(log: ContainerLog, options: LogOptions) -> bytes:
    async def whole() -> bytes:
        return b"".join([part async for part in log.read(options)])

    return asyncio.run(whole())


def filled(*lines: str) -> ContainerLog:
    log = ContainerLog()
    for number, line in enumerate(lines):
        log.append(line.encode(), NOW + timedelta(seconds=number))
    return log


def test_line_counts_once_it_is_whole() -> None:
    log = filled("ab", "c\nd")
    assert read(log, LogOptions()) == b"abc\n"
    log.close(NOW)
    assert read(log, LogOptions()) == b"abc\nd"


def test_tail_and_limit_and_since_choose() -> None:
    log = filled("one\n", "two\n", "three\n")
    assert read(log, LogOptions(tail_lines=2)) == b"two\nthree\n"
    assert read(log, LogOptions(tail_lines=0)) == b""
    assert read(log, LogOptions(limit_bytes=5)) == b"one\nt"
    assert read(log, LogOptions(since=NOW + timedelta(seconds=1))) == b"two\nthree\n"
    assert read(log, LogOptions(since=NOW + timedelta(seconds=1), tail_lines=1)) == b"three\n"


def test_moment_stands_before_each_line() -> None:
    assert read(filled("one\n"), LogOptions(timestamps=True)) == b"2026-11-22T04:05:06.789000000Z one\n"


def test_follower_gets_every_line_to_the_end_even_a_slow_one() -> None:
    async def whole() -> bytes:
        log, got = filled("0\n"), []
        async for part in log.read(LogOptions(follow=True)):
            got.append(part)
            if len(got) < 4:  # while the follower is busy with this line, the next two come
                log.append(f"{len(got)}\n".encode(), NOW)
            else:
                log.close(NOW)
        return b"".join(got)

    assert asyncio.run(asyncio.wait_for(whole(), 60)) == b"0\n1\n2\n3\n"


def test_oldest_lines_go_when_there_are_too_many() -> None:
    log = ContainerLog()
    for number in range(12):
        log.append((b"%x" % number * 1023 + b"\n") * 1024, NOW)
    kept = read(log, LogOptions())
    assert (kept[:1], kept[-2:]) == (b"2", b"b\n")
    assert 9 * 1024**2 <= len(kept) <= 10 * 1024**2


def test_endless_line_is_cut_like_a_runtime_cuts_it() -> None:
    log = ContainerLog()
    for _ in range(5):
        log.append(b"x" * 5000, NOW)
    assert read(log, LogOptions()) == b"x" * 16384
    log.append(b"y\n", NOW)
    assert read(log, LogOptions()) == b"x" * 25000 + b"y\n"
