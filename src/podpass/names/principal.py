# SPDX-License-Identifier: Apache-2.0
"""The members of an IAM policy that a workload identity pool speaks for."""

import re
from dataclasses import dataclass
from typing import Self

from podpass.errors import ConfigError
from podpass.names.pool import PoolName
from podpass.names.quoting import quoted

_PATTERN = re.compile(
    r"(?P<scheme>principal|principalSet)://iam\.googleapis\.com/"
    r"(?P<pool>projects/[^/]+/locations/global/workloadIdentityPools/[^/]+)/(?P<selector>.+)",
    re.DOTALL,
)
# Google (IAM v1 reference): a custom attribute's name has 1 to 100 of [a-z0-9_].
_ATTRIBUTE = re.compile(r"attribute\.[a-z0-9_]{1,100}")


@dataclass(frozen=True, slots=True)
class Principal:
    """One subject of a pool, or a set of them.

    Attributes:
        pool: The pool that vouches.
        kind: `subject` (one), `group`, `attribute.NAME`, or `*` (everybody in the pool).
        value: The subject, group or attribute value; empty for `*`.
    """

    pool: PoolName
    kind: str
    value: str

    def __post_init__(self) -> None:
        known = self.kind in {"subject", "group", "*"} or _ATTRIBUTE.fullmatch(self.kind)
        if not known or bool(self.value) == (self.kind == "*"):
            raise ConfigError(
                f"{quoted(self.kind)} with value {quoted(self.value)} selects no principals of a pool.",
                "",
                "Use subject, group or attribute.NAME with a value, or * without one.",
                code="config.principal",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `principal://…/subject/S` or `principalSet://…/{group/G, attribute.NAME/VALUE, *}`.

        Raises:
            ConfigError: Another form.
        """
        found = _PATTERN.fullmatch(text)
        if found:
            kind, _, value = found["selector"].partition("/")
            if (found["scheme"] == "principal") == (kind == "subject"):
                return cls(PoolName.parse(found["pool"]), kind, value)
        raise ConfigError(
            f"{quoted(text)} is not a principal of a workload identity pool.",
            "A single subject is principal://…/subject/S; sets are principalSet://…/group/G, …/attribute.NAME/VALUE and …/*.",
            "",
            code="config.principal",
        )

    def __str__(self) -> str:
        scheme = "principal" if self.kind == "subject" else "principalSet"
        selector = self.kind if self.kind == "*" else f"{self.kind}/{self.value}"
        return f"{scheme}://iam.googleapis.com/{self.pool}/{selector}"
