# SPDX-License-Identifier: Apache-2.0
"""Durations as people write them."""

import re
from datetime import timedelta
from typing import Final

import click

_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class Duration(click.ParamType[timedelta]):
    """A number with its unit: 90s, 10m, 24h, 7d."""

    name = "duration"

    def convert(self, value: str | timedelta, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Return the time."""
        found = value if isinstance(value, timedelta) else re.fullmatch(r"(\d+)([smhd])", value)
        if isinstance(found, timedelta):
            return found
        if not found:
            self.fail(f"{value!r} is no duration: write 90s, 10m, 24h or 7d.", param, ctx)
        return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def in_words(span: timedelta) -> str:
    """Write a time in the largest unit that it is a whole number of: 24 h, 10 min, 90 s."""
    seconds = round(span.total_seconds())
    size, unit = next((size, unit) for size, unit in ((3600, "h"), (60, "min"), (1, "s")) if seconds % size == 0)
    return f"{seconds // size} {unit}"
