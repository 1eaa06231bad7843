# SPDX-License-Identifier: Apache-2.0
"""The one document of a file, whatever its kind: its head says what it is and how it is called, `spec` is the kind's own."""

from collections.abc import Callable, Iterator
from collections.abc import Mapping as Map
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from podpass.config import tree
from podpass.config.mistakes import Report
from podpass.config.record import Field, Record
from podpass.config.shape import Broken, Form, Text
from podpass.config.spelling import nearest
from podpass.errors import ConfigError
from podpass.names.quoting import quoted

API_VERSION: Final = "podpass.dev/v1alpha1"

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Draft(Generic[S]):
    """A document, as far as it could be read."""

    api_version: str | None = None
    kind: str | None = None
    metadata: str | None = None
    spec: S | None = None


def document(kind: str, name: Text[str], spec: Form[S], says: str) -> Record[Draft[S]]:
    """Return the form of a kind of document.

    Args:
        kind: What it calls itself.
        name: The form of its name.
        spec: The form of the rest.
        says: One sentence about that.
    """
    metadata: Record[str] = Record(_name, (Field("name", name, "Its name.", required=True),))
    build: type[Draft[S]] = Draft
    return Record(
        build,
        (
            Field("apiVersion", _only(API_VERSION, "config.unknown-api-version"), f"Write apiVersion: {API_VERSION}.", required=True),
            Field("kind", _only(kind, "config.unknown-kind", f"Name a file of kind {kind}."), f"Write kind: {kind}.", required=True),
            Field("metadata", metadata, "Names it: {name: NAME}.", required=True),
            Field("spec", spec, says, required=True),
        ),
        is_partial=True,
    )


def new_report(form: Record[Draft[S]]) -> Report:
    """Return an empty report that knows where each key of a form belongs; of keys that stand in several places, the first counts."""
    return Report(dict(reversed(list(form.homes()))))


def read_file(
    raw: bytes, form: Record[Draft[S]], kind: str, report: Report, *, check: Callable[[S, Report], None], empty: str
) -> tuple[str, S] | None:
    """Read the one document of a file, and judge what its form cannot.

    Args:
        raw: YAML, or JSON, which is YAML too.
        form: That of the kind.
        kind: What the document has to call itself.
        report: Takes every mistake.
        check: Notes the mistakes that lie between keys.
        empty: What to do about a file with nothing in it.

    Returns:
        Its name and its spec; None where there is a mistake.
    """
    documents = tree.read_documents(raw, report)
    if not documents and not report.mistakes:
        report.add((1, 1), "", "This file is empty.", empty, code="config.empty")
    for extra in documents[1:]:
        message = "A file holds one document; here begins another one."
        report.add(extra.position, "", message, "Move it to its own file.", code="config.documents")
    draft = _read(documents[0], form, kind, report) if documents else None
    if draft and draft.spec:
        check(draft.spec, report)
    if report.mistakes or draft is None or draft.metadata is None or draft.spec is None:
        return None
    return draft.metadata, draft.spec


def _read(found: tree.Node, form: Record[Draft[S]], kind: str, report: Report) -> Draft[S] | None:
    """Read a document; of one that calls itself something else only the head, since the rest has other keys."""
    if isinstance(found, tree.Mapping) and (wrong := list(_wrong_head(found, kind))):
        for name, value in wrong:
            form.field(name).form.read(value, name, report)
        return None
    draft = form.read(found, "", report)
    return None if isinstance(draft, Broken) else draft


def _wrong_head(found: tree.Mapping, kind: str) -> Iterator[tuple[str, tree.Node]]:
    wanted: Map[str, str] = {"apiVersion": API_VERSION, "kind": kind}
    for entry in found.entries:
        if entry.key in wanted and not (isinstance(entry.value, tree.Scalar) and entry.value.text == wanted[entry.key]):
            yield entry.key, entry.value


def _name(*, name: str) -> str:
    return name


def _only(wanted: str, code: str, otherwise: str = "") -> Text[str]:
    """Return the form of one word of a head; `otherwise` is the cure where it is no misspelling: it may be the wrong file."""

    def parse(text: str) -> str:
        if text == wanted:
            return text
        cure = otherwise if otherwise and nearest(text, [wanted]) is None else f"Write {wanted}."
        raise ConfigError(f"{quoted(text)} is unknown here.", f"podpass reads {wanted} here.", cure, code=code)

    return Text(parse, {"const": wanted})
