# SPDX-License-Identifier: Apache-2.0
"""What a Kubernetes kind is here: one row. Everything else about objects is the same for all kinds."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from podpass.sandbox.kubernetes.schema import Model
from podpass.sandbox.kubernetes.status import Cause, invalid_value

Json = dict[str, Any]


class Reader(Protocol):
    """What admission may ask: other objects of the cluster."""

    def get(self, kind: "Kind", namespace: str, name: str) -> Json:
        """Return an object, or raise a 404."""
        ...


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the table that `kubectl get` prints.

    Args:
        name: Heading.
        value: The cell of an object at a moment.
        type: `string`, `integer` or `date`.
        wide: Shown by `-o wide` only.
    """

    name: str
    value: Callable[[Json, datetime], object]
    type: str = "string"
    wide: bool = False


def timestamp(moment: datetime) -> str:
    """Write a moment as Kubernetes does: whole seconds, UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: str) -> datetime:
    """Read a Kubernetes time, with or without a fraction."""
    return datetime.fromisoformat(text)


# apimachinery's HumanDuration: up to a length, whole units, then smaller units beside them.
_AGES: Final = (
    (120, 1, "s", 0, ""),
    (600, 60, "m", 1, "s"),
    (3 * 3600, 60, "m", 0, ""),
    (8 * 3600, 3600, "h", 60, "m"),
    (48 * 3600, 3600, "h", 0, ""),
    (8 * 86400, 86400, "d", 3600, "h"),
    (2 * 365 * 86400, 86400, "d", 0, ""),
)


def age(since: str | None, now: datetime) -> str:
    """Say how long ago a time was, as kubectl's tables do."""
    if not since:
        return "<unknown>"
    seconds = max(0, int((now - moment(since)).total_seconds()))
    for limit, unit, letter, small, small_letter in _AGES:
        if seconds < limit:
            rest = (seconds % unit) // small if small else 0
            return f"{seconds // unit}{letter}" + (f"{rest}{small_letter}" if rest else "")
    return f"{seconds // (365 * 86400)}y"


NAME: Final = Column("Name", lambda obj, _: obj["metadata"]["name"])
AGE: Final = Column("Age", lambda obj, now: age(obj["metadata"].get("creationTimestamp"), now))


def _nothing(*_: object) -> None:
    """Do nothing."""


def _no_causes(*_: object) -> list[Cause]:
    """Find nothing wrong."""
    return []


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object.

    Args:
        model: Its type in lightkube-models, which also names it.
        plural: Its name in paths.
        group: API group; empty is the core.
        namespaced: Whether its objects live in namespaces.
        short_names: Further names that kubectl takes.
        categories: `all`, if `kubectl get all` shows it.
        columns: What `kubectl get` prints.
        verbs: What can be done with its objects.
        subresources: Served below an object: name, kind, verbs.
        selectable: Paths for field selectors, besides name and namespace.
        versioned: Whether `metadata.generation` counts changes of the spec.
        label_form: Names are DNS labels (63 characters), not subdomains (253).
        lasting: Whether a dump shows its objects: they say what the cluster is, not what it does at the moment.
        start: Complete a new object: status, generated members.
        default: Fill in defaults, at every write.
        check: Name what is wrong with an object; the second argument is the object as it was, None at creation.
        admit: Ask the cluster's other objects about a new one, and complete it.
    """

    model: Model
    plural: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    columns: tuple[Column, ...] = (NAME, AGE)
    verbs: tuple[str, ...] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    subresources: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    selectable: tuple[str, ...] = ()
    versioned: bool = False
    label_form: bool = False
    lasting: bool = True
    start: Callable[[Json], None] = _nothing
    default: Callable[[Json], None] = _nothing
    check: Callable[[Json, Json | None], list[Cause]] = _no_causes
    admit: Callable[[Reader, Json], None] = _nothing

    @property
    def name(self) -> str:
        """The kind's name, such as `ConfigMap`."""
        return self.model.__name__

    @property
    def api_version(self) -> str:
        """What objects carry as `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def has_status(self) -> bool:
        """Whether the status is a subresource: then other writes leave it alone."""
        return any(name == "status" for name, _, _ in self.subresources)


STATUS: Final = ("get", "patch", "update")

_LABEL_TEXT: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN_TEXT: Final = rf"{_LABEL_TEXT}(\.{_LABEL_TEXT})*"
_NAME_TEXT: Final = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_QUALIFIED: Final = re.compile(rf"({_SUBDOMAIN_TEXT}/)?(?=[^/]{{1,63}}$){_NAME_TEXT}")
_LABEL_VALUE: Final = re.compile(rf"(?=.{{0,63}}$)({_NAME_TEXT})?")
_LABEL_LIMIT, _SUBDOMAIN_LIMIT = 63, 253
_ENDS: Final = "and must start and end with an alphanumeric character"


def check_name(kind: Kind, name: str) -> list[Cause]:
    """Judge a name as the real server words it."""
    return _check_name("metadata.name", name, is_label=kind.label_form)


def check_label(field: str, name: str) -> list[Cause]:
    """Judge the name of a part of an object, such as a volume, as the real server words it."""
    return _check_name(field, name, is_label=True)


def _check_name(field: str, name: str, *, is_label: bool) -> list[Cause]:
    limit = _LABEL_LIMIT if is_label else _SUBDOMAIN_LIMIT
    if len(name) > limit:
        return [invalid_value(field, name, f"must be no more than {limit} bytes")]
    if is_label:
        pattern, rule, example = _LABEL_TEXT, "label must consist of lower case alphanumeric characters or '-',", "'my-name',  or '123-abc'"
    else:
        pattern, rule, example = (
            _SUBDOMAIN_TEXT,
            "subdomain must consist of lower case alphanumeric characters, '-' or '.',",
            "'example.com'",
        )
    if re.fullmatch(pattern, name):
        return []
    said = f"a lowercase RFC 1123 {rule} {_ENDS} (e.g. {example}, regex used for validation is '{pattern}')"
    return [invalid_value(field, name, said)]


def check_labels(labels: dict[str, str]) -> list[Cause]:
    """Judge the names and values of labels."""
    causes = []
    letters = "consist of alphanumeric characters, '-', '_' or '.',"
    for key, value in labels.items():
        if not _QUALIFIED.fullmatch(key):
            example = f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME_TEXT}')"
            causes.append(invalid_value("metadata.labels", key, f"name part must {letters} {_ENDS} {example}"))
        if not _LABEL_VALUE.fullmatch(value):
            example = f"(e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '({_NAME_TEXT})?')"
            causes.append(invalid_value("metadata.labels", value, f"a valid label must be an empty string or {letters} {_ENDS} {example}"))
    return causes
