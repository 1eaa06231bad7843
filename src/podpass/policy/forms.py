# SPDX-License-Identifier: Apache-2.0
"""Forms that only a policy has: yes or no, and where keys come from."""

from pathlib import Path
from typing import Literal, TypeVar

from podpass.config import tree
from podpass.config.mistakes import Report
from podpass.config.record import Field, Record
from podpass.config.shape import BROKEN, Broken, Form, Schema, Text, one_of
from podpass.config.texts import present
from podpass.config.tree import Node

T = TypeVar("T")
Keys = Literal["discovery", "apiserver"] | Path

# YAML 1.1 has eleven spellings; Kubernetes and people have two.
_WORDS = {"true": True, "false": False}


class Flag(Form[bool]):
    """True or false."""

    def read(self, node: Node, path: str, report: Report) -> bool | Broken:
        """Read one of the two words; not `yes`, not text in quotes."""
        if isinstance(node, tree.Scalar) and node.kind == "bool" and node.text in _WORDS:
            return _WORDS[node.text]
        hint = "Write one of these two words, without quotes."
        report.add(node.position, path, f"This is {tree.describe(node)}; true or false is wanted.", hint, code="config.wrong-type")
        return BROKEN

    def schema(self) -> Schema:
        """Return a boolean."""
        return {"type": "boolean"}


class KeysForm(Form[Keys]):
    """`discovery`, `apiserver`, or `{file: PATH}`."""

    _word = one_of("discovery", "apiserver")
    _file = Record(lambda *, file: Path(file), (Field("file", Text(present), "Path of a JWKS, relative to this file.", required=True),))

    def read(self, node: Node, path: str, report: Report) -> Keys | Broken:
        """Read a word or a mapping."""
        if isinstance(node, tree.Mapping):
            return self._file.read(node, path, report)
        word = self._word.read(node, path, report)
        return "apiserver" if word == "apiserver" else "discovery" if word == "discovery" else BROKEN

    def schema(self) -> Schema:
        """Return one of the two."""
        return {"oneOf": [self._word.schema(), self._file.schema()]}
