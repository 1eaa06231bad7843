# SPDX-License-Identifier: Apache-2.0
"""One document of a file: its head says what it is, then its form reads the rest."""

from collections.abc import Iterator
from collections.abc import Mapping as Map
from typing import Final, TypeVar

from podpass.config import tree
from podpass.config.mistakes import Report
from podpass.config.shape import Broken, Record, Text
from podpass.errors import ConfigError

API_VERSION: Final = "podpass.dev/v1alpha1"

T = TypeVar("T")


def exactly(wanted: str, why: str, code: str) -> Text[str]:
    """Return the form of one word of a head; `why` is the sentence for a file that has another."""

    def parse(text: str) -> str:
        if text == wanted:
            return text
        raise ConfigError(f"{text[:80]!r} is unknown here.", why, f"Write {wanted}.", code=code)

    return Text(parse, {"const": wanted})


def new_report(form: Record[T]) -> Report:
    """Return an empty report that knows where each key of a form belongs; of keys that stand in several places, the first counts."""
    return Report(dict(reversed(list(form.homes()))))


def read_document(document: tree.Node, form: Record[T], kind: str, report: Report) -> T | None:
    """Read a document; of one that calls itself something else only the head, since the rest has other keys.

    Returns:
        What the form builds; None where it could not, which the report explains.
    """
    if isinstance(document, tree.Mapping) and (wrong := list(_wrong_head(document, kind))):
        for name, value in wrong:
            form.field(name).form.read(value, name, report)
        return None
    draft = form.read(document, "", report)
    return None if isinstance(draft, Broken) else draft


def _wrong_head(document: tree.Mapping, kind: str) -> Iterator[tuple[str, tree.Node]]:
    wanted: Map[str, str] = {"apiVersion": API_VERSION, "kind": kind}
    for entry in document.entries:
        if entry.key in wanted and not (isinstance(entry.value, tree.Scalar) and entry.value.text == wanted[entry.key]):
            yield entry.key, entry.value
