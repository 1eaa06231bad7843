# SPDX-License-Identifier: Apache-2.0
"""Reasons why nothing is done, collected, so that all of them are told at once."""

from collections.abc import Sequence
from dataclasses import dataclass

from podpass.errors import ConfigError, PodpassError, RefusedError, UnsafePlanError


@dataclass(frozen=True, slots=True)
class Objection:
    """One reason why a plan is refused: the three sentences of an error, and its code."""

    code: str
    what: str
    why: str
    next_step: str


def stop(found: Sequence[Objection]) -> None:
    """Raise one error for all objections; nothing if there are none.

    Raises:
        ConfigError, RefusedError, UnsafePlanError: By the first one's code.
    """
    if not found:
        return
    codes = {objection.code for objection in found}
    kind = _class_of(found[0].code)
    code = found[0].code if len(codes) == 1 else kind.code
    if len(found) == 1:
        raise kind(f"Nothing was changed: {found[0].what}", found[0].why, found[0].next_step, code=code)
    cures = {one.next_step for one in found}
    common = cures.pop() if len(cures) == 1 else ""
    lines = [f"  - {' '.join(filter(None, (one.what, one.why)))}" + ("" if common else f"\n    {one.next_step}") for one in found]
    raise kind(f"Nothing was changed, for {len(found)} reasons:", "\n".join(lines), common, code=code)


def _class_of(code: str) -> type[PodpassError]:
    room = code.partition(".")[0]
    return {"config": ConfigError, "neighbour": RefusedError}.get(room, UnsafePlanError)
