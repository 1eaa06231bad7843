# SPDX-License-Identifier: Apache-2.0
"""Conditions that a client puts on the state that it expects to find."""

from collections.abc import Mapping

from podpass.sandbox.google.message import Fault
from podpass.sandbox.google.storage.refusals import condition_not_met, refused
from podpass.sandbox.store import Json


def check_preconditions(query: Mapping[str, str], value: Json | None, *, reading: bool = False) -> None:
    """Refuse a request whose `if…Match` or `if…NotMatch` does not hold.

    Args:
        query: The request's query.
        value: The bucket or object as it is; None when there is none, whose generation counts as 0.
        reading: Whether nothing would change: then "not match" is answered by 304.

    Raises:
        Fault: 412, or 304, or 400 for a value that is no number.
    """
    for counter in ("generation", "metageneration"):
        actual = int((value or {}).get(counter, 0))
        for suffix, wanted in (("Match", True), ("NotMatch", False)):
            name = f"if{counter.capitalize()}{suffix}"
            if name not in query:
                continue
            if not query[name].isdecimal():
                raise refused(f"Invalid value for {name}: {query[name]!r}.")
            if (int(query[name]) == actual) is not wanted:
                raise Fault(304, "", "Not Modified") if reading and not wanted else condition_not_met()
