# SPDX-License-Identifier: Apache-2.0
"""Who was let in, by whom the service may be invoked and which identity came: a row for each, an answer for each path."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podpass.demo.answers import Answer

PATHS: Final = ("/", "/private")


@dataclass(frozen=True, slots=True)
class Row:
    """A caller at a time, and the answers that are wanted.

    Attributes:
        invokers: Whom the service's invoker role has, in words.
        identity: What is sent, as IDENTITY names it; `none`: no token.
        exposed: The answer to `GET /`, wanted.
        private: The answer to `GET /private`, wanted.
    """

    invokers: str
    identity: str
    exposed: Answer
    private: Answer

    @property
    def wanted(self) -> dict[str, Answer]:
        """The answers by path."""
        return {"/": self.exposed, "/private": self.private}


_OK, _REFUSED, _FOREIGN = Answer(200), Answer(403), Answer(401)
ALL_NONE: Final = Row("allUsers", "none", _OK, Answer(401, "token.missing"))
ALL_CLUSTER: Final = Row("allUsers", "cluster", _OK, _OK)
NOBODY_NONE: Final = Row("nobody", "none", _REFUSED, _REFUSED)
NOBODY_CLUSTER: Final = Row("nobody", "cluster", _FOREIGN, _FOREIGN)
NOBODY_GOOGLE: Final = Row("nobody", "google", _REFUSED, _REFUSED)
ACCOUNT_NONE: Final = Row("gke-gsa", "none", _REFUSED, _REFUSED)
ACCOUNT_GOOGLE: Final = Row("gke-gsa", "google", _OK, Answer(401, "token.wrong-issuer"))
ACCOUNT_BOTH: Final = Row("gke-gsa", "google+cluster", _OK, _OK)
ROWS: Final = (ALL_NONE, ALL_CLUSTER, NOBODY_NONE, NOBODY_CLUSTER, NOBODY_GOOGLE, ACCOUNT_NONE, ACCOUNT_GOOGLE, ACCOUNT_BOTH)


@dataclass(slots=True)
class Admissions:
    """The rows with what was answered."""

    answers: dict[Row, Mapping[str, Answer]] = field(default_factory=dict)

    def lines(self) -> Iterator[str]:
        """Yield the table; it fits 80 columns."""
        yield f"{'invokers':10}{'identity':16}{'GET /':9}GET /private"
        for row in ROWS:
            cells = [self._cell(row, path) for path in PATHS]
            yield f"{row.invokers:10}{row.identity:16}{cells[0]:9}{cells[1]}"
        yield "A refusal with a code is the guard's in the service; one without is Cloud Run's."

    def faults(self) -> Iterator[str]:
        """Yield half a sentence for each answer that is not the one that is wanted."""
        for row in ROWS:
            for path in PATHS:
                if self._answer(row, path) != row.wanted[path]:
                    yield f"GET {path} as {row.identity}, invokers {row.invokers}: {self._cell(row, path)}"

    def as_json(self) -> list[dict[str, Any]]:
        """Return the table for programs."""
        return [
            {
                "invokers": row.invokers,
                "identity": row.identity,
                "path": path,
                "wanted": {"status": wanted.status, "code": wanted.code},
                "answer": {"status": answer.status, "code": answer.code} if answer else None,
                "as_wanted": answer == wanted,
            }
            for row in ROWS
            for path, wanted in row.wanted.items()
            for answer in [self._answer(row, path)]
        ]

    def _answer(self, row: Row, path: str) -> Answer | None:
        return self.answers.get(row, {}).get(path)

    def _cell(self, row: Row, path: str) -> str:
        answer, wanted = self._answer(row, path), row.wanted[path]
        remark = "" if answer == wanted else f" (wanted {wanted})"
        return f"{answer or 'none'}{remark}"
