# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' label selectors: which objects a file means without naming them.

The rules are Kubernetes' own (labels.Requirement, apimachinery's validation): `matchLabels` and `matchExpressions` all have to hold, and
`NotIn` and `DoesNotExist` hold where the label is not there.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from podpass.errors import ConfigError

Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
OPERATORS: Final[tuple[Operator, ...]] = get_args(Operator)

_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_PREFIX: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PREFIX_LIMIT_CHARS: Final = 253
_NEED_VALUES: Final = frozenset({"In", "NotIn"})
_HOLD_WITHOUT: Final = frozenset({"NotIn", "DoesNotExist"})


def check_label_key(text: str) -> str:
    """Return a label's key: `NAME` or `PREFIX/NAME`.

    Raises:
        ConfigError: Kubernetes would refuse it.
    """
    prefix, slash, name = text.rpartition("/")
    is_prefix = _PREFIX.fullmatch(prefix) and len(prefix) <= _PREFIX_LIMIT_CHARS if slash else True
    if _NAME.fullmatch(name) and is_prefix:
        return text
    raise ConfigError(
        f"{text!r} cannot be the key of a label.",
        "A key is a name of 1 to 63 letters, digits, '-', '_' and '.', perhaps behind a DNS name and '/'.",
        "Write it as `kubectl get serviceaccounts --show-labels` prints it.",
        code="config.label",
    )


def check_label_value(text: str) -> str:
    """Return a label's value; it may be empty.

    Raises:
        ConfigError: Kubernetes would refuse it.
    """
    if not text or _NAME.fullmatch(text):
        return text
    raise ConfigError(
        f"{text!r} cannot be the value of a label.",
        "A value has at most 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit.",
        "Write it as `kubectl get serviceaccounts --show-labels` prints it.",
        code="config.label",
    )


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that has to hold of an object's labels.

    Attributes:
        key: The label.
        operator: How its value is judged.
        values: For `In` and `NotIn`: against which.
    """

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_label_key(self.key)
        for value in self.values:
            check_label_value(value)
        if (self.operator in _NEED_VALUES) != bool(self.values):
            wants = "needs values" if self.operator in _NEED_VALUES else "takes no values"
            hint = "Add values: [VALUE]." if self.operator in _NEED_VALUES else "Remove values, or write In or NotIn."
            raise ConfigError(f"The operator {self.operator} {wants}.", "", hint, code="config.label")

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether it holds of these labels."""
        if self.key not in labels:
            return self.operator in _HOLD_WITHOUT
        if self.operator in _NEED_VALUES:
            return (labels[self.key] in self.values) == (self.operator == "In")
        return self.operator == "Exists"

    def __str__(self) -> str:
        if self.operator == "In" and len(self.values) == 1:
            return f"{self.key}={self.values[0]}"
        if self.operator in _NEED_VALUES:
            return f"{self.key} {self.operator.lower()} ({','.join(self.values)})"
        return self.key if self.operator == "Exists" else f"!{self.key}"


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Objects by their labels; with no requirement at all: every object."""

    requirements: tuple[Requirement, ...] = ()

    @classmethod
    def of(cls, match_labels: Mapping[str, str], match_expressions: tuple[Requirement, ...] = ()) -> "LabelSelector":
        """Return the selector that a file writes as `matchLabels` and `matchExpressions`."""
        return cls((*(Requirement(key, "In", (value,)) for key, value in match_labels.items()), *match_expressions))

    @property
    def takes_unlabelled(self) -> bool:
        """Whether an object without a single label is meant, too; whoever makes one need not even label it then."""
        return self.holds({})

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels is meant."""
        return all(requirement.holds(labels) for requirement in self.requirements)

    def keys(self) -> Iterator[str]:
        """Return the labels that it looks at, each once."""
        yield from dict.fromkeys(requirement.key for requirement in self.requirements)

    def __str__(self) -> str:
        """Write it as the API's `labelSelector` and `kubectl --selector` have it."""
        return ",".join(map(str, self.requirements))
