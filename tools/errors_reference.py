# SPDX-License-Identifier: Apache-2.0
"""Writes docs/reference/errors.md: every code that podpass gives, with its sentences, read from the source.

    python tools/errors_reference.py           # writes the page
    python tools/errors_reference.py --check   # exit code 1 if it is not as the source is

An error is made by a call of its class with up to three texts and perhaps a `code`; what is filled in at run time is shown as `…`.
"""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/reference/errors.md"
SOURCE = ROOT / "src/podpass"
# What is said by the sandbox's own parts, which play Google and Kubernetes, is theirs and not podpass's.
_PLAYED = ("sandbox/google", "sandbox/kubernetes")
# Errors in other clothes: first the code, then the three texts.
_CODE_FIRST = {"Objection"}
# Notes of mistakes in a file: how many arguments say where it is, before the message and the hint.
_MISTAKES = {"add": 2, "at": 1}
_UNKNOWN = "…"
_HEAD = """# Errors

Every error has a code in square brackets, which stays the same from version to version; the sentences may change. This page lists the
codes with what is said: what happened, why, what to do next. `…` stands for what is filled in. It is made from the source, by
`make errors`.

A code is as fine as it needs to be: `neighbour.not-permitted` is a `neighbour`, as is every error whose cause is another system.

| begins with | the cause is |
|---|---|
| `config` | your input: a file, a flag, a variable; nothing was tried |
| `credential` | a token that cannot be had, or that somebody refused |
| `token`, `request` | a request to a guarded service |
| `keys`, `review`, `exchange` | what a judgement needs, and cannot be had now |
| `neighbour` | another system, or the way to it |
| `plan` | a change that is not made, or not wholly |
| `demo`, `sandbox` | the rehearsal |

"""


@dataclass(frozen=True, order=True)
class Entry:
    """One way to say one code."""

    code: str
    what: str
    why: str
    next_step: str


def entries(paths: Iterable[Path]) -> list[Entry]:
    """Return all that the source says, by code."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    defaults = _defaults(trees)
    found = {entry for tree in trees for call, words in _calls(tree, {}) if (entry := _entry(call, defaults, words))}
    spoken = {entry.code for entry in found if entry.what != _UNKNOWN}
    return sorted(entry for entry in found if entry.what != _UNKNOWN or entry.code not in spoken)


def _defaults(trees: Iterable[ast.Module]) -> dict[str, str]:
    """Return the code of each class, its own or its parent's."""
    codes: dict[str, str] = {}
    parents: dict[str, list[str]] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
                parents[node.name] = [base.id for base in node.bases if isinstance(base, ast.Name)]
                codes[node.name] = _own_code(node)
    return {name: code for name in parents if (code := _inherited(name, codes, parents))}


def _own_code(node: ast.ClassDef) -> str:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id="code"), value=ast.Constant(value=str(code))):
                return code
            case ast.Assign(targets=[ast.Name(id="code")], value=ast.Constant(value=str(code))):
                return code
    return ""


def _inherited(name: str, codes: dict[str, str], parents: dict[str, list[str]]) -> str:
    if codes.get(name):
        return codes[name]
    return next((code for parent in parents.get(name, []) if (code := _inherited(parent, codes, parents))), "")


def _calls(node: ast.AST, words: dict[str, str]) -> Iterator[tuple[ast.Call, dict[str, str]]]:
    """Yield every call with the texts that variables of its function hold."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        words = words | dict(_assigned(node))
    if isinstance(node, ast.Call):
        yield node, words
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, words)


def _assigned(function: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and (text := _text(node.value, {})) != _UNKNOWN:
            yield node.targets[0].id, text


def _entry(call: ast.Call, defaults: dict[str, str], words: dict[str, str]) -> Entry | None:
    name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
    texts = [_text(argument, words) for argument in call.args]
    named = {word.arg: _text(word.value, words) for word in call.keywords if word.arg}
    if name in _CODE_FIRST:
        code, texts = (texts[:1] or [""])[0], texts[1:]
    else:
        code = named.get("code") or defaults.get(name, "")
        if name not in defaults and "code" not in named:
            return None
    if not re.fullmatch(r"[a-z]+(\.[a-z0-9-…]+)*", code):
        return None
    if name in _MISTAKES and isinstance(call.func, ast.Attribute):
        message, hint = (*texts[_MISTAKES[name] :], "", "")[:2]
        return Entry(code, message or _UNKNOWN, "", named.get("hint", hint))
    what, why, next_step = (*texts, "", "", "")[:3]
    return Entry(code, named.get("what", what) or _UNKNOWN, named.get("why", why), named.get("next_step", next_step))


def _text(node: ast.expr, words: dict[str, str]) -> str:
    """Return a text with `…` for what is filled in; `…` alone for what only the running program knows."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return re.sub(f"{_UNKNOWN}+", _UNKNOWN, "".join(_text(part, {}) for part in parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left, words) + _text(right, words)
        case ast.Constant(value=None):
            return ""
        case ast.Name(id=name):
            return words.get(name, _UNKNOWN)
        case _:
            return _UNKNOWN


def page(found: Iterable[Entry]) -> str:
    """Return the page."""
    lines = [_HEAD]
    last = ""
    for entry in found:
        if entry.code != last:
            lines.append(f"## `{entry.code}`\n\n| what | why | what next |\n|---|---|---|\n")
            last = entry.code
        lines.append("| " + " | ".join(_cell(text) for text in (entry.what, entry.why, entry.next_step)) + " |\n")
    return re.sub(r"\|\n## ", "|\n\n## ", "".join(lines))


def _cell(text: str) -> str:
    escaped = " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
    return escaped if escaped != _UNKNOWN else "…"


def sources() -> list[Path]:
    """Return the files that speak for podpass."""
    return [path for path in sorted(SOURCE.rglob("*.py")) if not path.relative_to(SOURCE).as_posix().startswith(_PLAYED)]


def main(arguments: list[str]) -> int:
    """Write the page, or say whether it is as it should be."""
    text = page(entries(sources()))
    if arguments == ["--check"]:
        return 0 if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
