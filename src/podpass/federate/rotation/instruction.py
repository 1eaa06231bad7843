# SPDX-License-Identifier: Apache-2.0
"""What a person does in a step of a walk. Pure."""

from dataclasses import dataclass
from typing import Final

ONE_BY_ONE: Final = "One server after the other: go on when the one before is ready."


@dataclass(frozen=True, slots=True)
class Instruction:
    """What to do, and lines to type or write."""

    purpose: str
    lines: tuple[str, ...]
