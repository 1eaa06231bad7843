# SPDX-License-Identifier: Apache-2.0
"""What a container wrote: standard output and error in the order they came, line by line, each with its moment."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

# kubelet keeps 10 MiB of a container's log before it rotates it; a runtime cuts lines of more than 16 KiB.
_LIMIT_BYTES, _LINE_BYTES = 10 * 1024**2, 16 * 1024


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What of a log is wanted; the names are those of the query of `pods/NAME/log`."""

    follow: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    since: datetime | None = None


class ContainerLog:
    """The log of one run of a container; the oldest lines go when there are too many."""

    def __init__(self) -> None:
        self._lines: list[tuple[datetime, bytes]] = []
        self._size = 0
        self._dropped = 0
        self._unfinished = b""
        self._closed = False
        self._grown = asyncio.Event()

    def append(self, data: bytes, now: datetime) -> None:
        """Add what the container wrote; a line counts once its end came."""
        *whole, self._unfinished = (self._unfinished + data).split(b"\n")
        for line in whole:
            self._add(line + b"\n", now)
        while len(self._unfinished) >= _LINE_BYTES:
            self._add(self._unfinished[:_LINE_BYTES], now)
            self._unfinished = self._unfinished[_LINE_BYTES:]

    def close(self, now: datetime) -> None:
        """Say that nothing more will come."""
        if self._unfinished:
            self._add(self._unfinished, now)
        self._unfinished, self._closed = b"", True
        self._wake()

    def _add(self, line: bytes, now: datetime) -> None:
        self._lines.append((now, line))
        self._size += len(line)
        if self._size > _LIMIT_BYTES:
            self._drop(_LIMIT_BYTES // 10)
        self._wake()

    def _drop(self, size: int) -> None:
        """Forget the oldest lines, as many as make `size` bytes."""
        count = 0
        while size > 0:
            size -= len(self._lines[count][1])
            self._size -= len(self._lines[count][1])
            count += 1
        del self._lines[:count]
        self._dropped += count

    def _wake(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()

    def tail(self, limit_bytes: int = 2048) -> str:
        """Return the end of the log as text."""
        return b"".join(line for _, line in self._lines)[-limit_bytes:].decode(errors="replace")

    async def read(self, options: LogOptions) -> AsyncIterator[bytes]:
        """Yield the wanted lines; with `follow`, also those to come, until the container ends."""
        chosen = [entry for entry in self._lines if options.since is None or entry[0] >= options.since]
        skipped = len(chosen) - options.tail_lines if options.tail_lines is not None else 0
        position = self._dropped + len(self._lines) - len(chosen) + max(skipped, 0)
        left = options.limit_bytes
        while True:
            grown, closed = self._grown, self._closed
            new = self._lines[max(position - self._dropped, 0) :]
            position = self._dropped + len(self._lines)
            for moment, line in new:
                text = moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z ").encode() + line if options.timestamps else line
                yield text if left is None else text[:left]
                left = None if left is None else left - len(text)
                if left is not None and left <= 0:
                    return
            if closed or not options.follow:
                return
            await grown.wait()
