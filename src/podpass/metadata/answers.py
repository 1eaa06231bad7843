# SPDX-License-Identifier: Apache-2.0
"""A request and a tree: the answer, or the token that it needs. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from podpass.errors import ConfigError
from podpass.exchange.tokens import AccessToken, IdToken
from podpass.metadata.answer import Answer
from podpass.metadata.incoming import ROOT, Incoming
from podpass.metadata.tree import SCOPES, TOP, AccessTokenLeaf, Directory, IdTokenLeaf, Missing, Node, Scalar, Tree, Value
from podpass.names import Audience

_SCOPE = re.compile(r"[!#-\[\]-~]{1,256}")  # RFC 6749, 3.3
_SCOPE_LIMIT: Final = 32
_FORMATS: Final = frozenset({"standard", "full"})
_WAIT_LIMIT_S: Final = 3600


@dataclass(frozen=True, slots=True)
class AccessTokenWanted:
    """The answer is an access token; None: of the usual scopes."""

    scopes: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class IdTokenWanted:
    """The answer is an ID token for an audience."""

    audience: str


@dataclass(frozen=True, slots=True)
class Waiting:
    """The client wants the answer once it is another one.

    Attributes:
        etag: Of the answer that it has; None: whatever it is now.
        timeout_s: When it wants the answer in any case.
    """

    etag: str | None
    timeout_s: float


Wanted = Answer | AccessTokenWanted | IdTokenWanted


def ping(request: Incoming) -> Answer | None:
    """Answer a look for a sign of life, whoever the workload is; None: it is something else."""
    return Answer.value("computeMetadata/\n") if request.path == ROOT else None


def answer(request: Incoming, tree: Tree) -> Wanted:
    """Return the answer to a request that the gate has let in, or what has to be had for it first."""
    path = request.path.replace("%40", "@")  # of an account's email
    node = tree.get(path)
    if node is None:
        return _not_found(path, request.raw_query, tree)
    alternative = request.query.get("alt")
    if alternative not in {None, "json", "text"}:
        return Answer.words(400, "The parameter alt is json or text.")
    match node:
        case AccessTokenLeaf():
            return _access_token(request.query)
        case IdTokenLeaf(refusal):
            return _id_token(request.query) if refusal is None else Answer.words(404, refusal)
        case Missing(cure):
            return Answer.words(404, cure)
        case Value(content):
            return Answer.of_json(content) if alternative == "json" else Answer.value(_text(content))
        case Directory():
            is_recursive = request.query.get("recursive", "").lower() == "true"
            return _recursive(node, alternative) if is_recursive else _listing(node, alternative)


def waiting(request: Incoming) -> Waiting | Answer | None:
    """Return what a client waits for, if it waits; an answer if it asks for that in a wrong way."""
    if request.query.get("wait_for_change", "").lower() != "true":
        return None
    timeout = request.query.get("timeout_sec", str(_WAIT_LIMIT_S))
    if not timeout.isascii() or not timeout.isdecimal() or len(timeout) > 9:  # noqa: PLR2004 - digits of 30 years
        return Answer.words(400, "The parameter timeout_sec is a number of seconds.")
    return Waiting(request.query.get("last_etag"), min(int(timeout), _WAIT_LIMIT_S))


def of_access_token(token: AccessToken, now: datetime) -> Answer:
    """Answer with an access token; its life is told in whole seconds, never more than it has."""
    return Answer.token_json(token.value.reveal(), max(int((token.expires_at - now).total_seconds()), 0))


def of_id_token(token: IdToken) -> Answer:
    """Answer with an ID token."""
    return Answer.token_text(token.value.reveal())


def _not_found(path: str, raw_query: str, tree: Tree) -> Answer:
    if f"{path}/" in tree:
        # By path alone: whichever name the client knows this server by stays. The path is one of the tree's own.
        return Answer.words(301, f"It is at {path}/.", ("location", f"{path}/?{raw_query}" if raw_query else f"{path}/"))
    accounts = f"{TOP}instance/service-accounts/"
    directory = tree[accounts]
    if path.startswith(accounts) and isinstance(directory, Directory):
        name = path.removeprefix(accounts).partition("/")[0]
        if name not in directory.children:
            return Answer.words(404, f"No such account here. This pod has {' and '.join(sorted(directory.children))}.")
    return Answer.words(404, "404 page not found")


def _access_token(query: Mapping[str, str]) -> Wanted:
    asked = sorted({scope for scope in re.split(r"[, ]", query.get("scopes", "")) if scope})
    if len(asked) > _SCOPE_LIMIT or not all(_SCOPE.fullmatch(scope) for scope in asked):
        return Answer.words(400, f"The parameter scopes is a list of at most {_SCOPE_LIMIT} scopes, with commas between them.")
    return AccessTokenWanted(None if not asked or asked == sorted(SCOPES) else tuple(asked))


def _id_token(query: Mapping[str, str]) -> Wanted:
    if query.get("format", "standard") not in _FORMATS:
        return Answer.words(400, "The parameter format is standard or full.")
    audience = query.get("audience", "")
    if not audience:
        return Answer.words(400, "non-empty audience parameter required")
    try:
        return IdTokenWanted(Audience.parse(audience).value)
    except ConfigError as error:
        return Answer.words(400, str(error))


def _text(content: Scalar) -> str:
    return "".join(f"{line}\n" for line in content) if isinstance(content, tuple) else str(content)


def _listing(node: Directory, alternative: str | None) -> Answer:
    lines = tuple(f"{name}/" if isinstance(child, Directory) else name for name, child in _shown(node))
    return Answer.of_json(lines) if alternative == "json" else Answer.value(_text(lines))


def _shown(node: Directory) -> Iterator[tuple[str, Node]]:
    return ((name, child) for name, child in node.children.items() if not isinstance(child, Missing))


def _recursive(node: Directory, alternative: str | None) -> Answer:
    """Everything below, in JSON unless text is asked for; tokens are never in it."""
    return Answer.value(_text(tuple(_lines(node)))) if alternative == "text" else Answer.of_json(_members(node))


def _members(node: Directory) -> dict[str, object]:
    members: dict[str, object] = {}
    for name, child in node.children.items():
        key = name if node.keeps_names else _camel(name)
        if isinstance(child, Directory):
            members[key] = _members(child)
        elif isinstance(child, Value):
            members[key] = child.content
    return members


def _lines(node: Directory, prefix: str = "") -> Iterator[str]:
    for name, child in node.children.items():
        if isinstance(child, Directory):
            yield from _lines(child, f"{prefix}{name}/")
        elif isinstance(child, Value):
            for line in child.content if isinstance(child.content, tuple) else (child.content,):
                yield f"{prefix}{name} {line}"


def _camel(name: str) -> str:
    first, *rest = name.split("-")
    return first + "".join(word.capitalize() for word in rest)
