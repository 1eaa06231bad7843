# SPDX-License-Identifier: Apache-2.0
"""What a judgement says: the checks in the order they were made, and either a refusal or an identity."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# Every check there is, in the order in which they are made. Google does not document its order; this is what a series of measurements
# suggests. [?]
CHECKS = (
    "audience-field",
    "provider",
    "parse",
    "issuer",
    "audience",
    "lifetime",
    "key",
    "signature",
    "mapping",
    "condition",
    "expiry",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One check that was made.

    Attributes:
        name: One of `CHECKS`.
        passed: Whether the token went on.
        detail: What was compared, for the reader of a trace. May hold claims; never a token.
        warning: What is against the documentation although the real service has let it pass; empty otherwise.
    """

    name: str
    passed: bool
    detail: str
    warning: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The security token service's answer to a token that it refuses: `{"error": code, "error_description": description}`."""

    code: str
    description: str
    http_status: int = 400


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome.

    Attributes:
        checks: The checks made, in order; after a refusal no further check is made.
        refusal: The answer when the token is refused; None when it is accepted.
        subject: `google.subject`; empty when refused.
        groups: `google.groups`.
        attributes: The `attribute.NAME` values by their full names, `google.subject` included; empty when refused.
        expires_in_s: Lifetime of the federated token; None when refused, and when the answer has no `expires_in`.
    """

    checks: tuple[Check, ...]
    refusal: Refusal | None = None
    subject: str = ""
    groups: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    expires_in_s: int | None = None

    @property
    def not_reached(self) -> tuple[str, ...]:
        """Names of the checks that were not made."""
        made = {check.name for check in self.checks}
        return tuple(name for name in CHECKS if name not in made)
