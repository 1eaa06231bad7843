# SPDX-License-Identifier: Apache-2.0
"""The static pod of kube-apiserver as a file on a node: its flags, read and set. Pure.

The file is the operator's: what is set are lines of the two flags that a move is about. Every other line stays as it is, comments too.
"""

import difflib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import yaml

from podpass.errors import UnexpectedAnswerError
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, ServiceAccountFlags, parse_arguments
from podpass.federate.clusters.statement import items, mapping, text

PATH: Final = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_OURS: Final = frozenset({ISSUER, API_AUDIENCES})
_PLAIN: Final = re.compile(r"[A-Za-z0-9:/._~%@=,+-]*[A-Za-z0-9/._~%@=,+-]")
# What YAML ends a line with, a file of Python's `splitlines` would end it with more.
_LINES: Final = re.compile(r"[^\n]*\n|[^\n]+")


def flags_of(content: str, where: str) -> ServiceAccountFlags:
    """Return what the pod tells kube-apiserver.

    Raises:
        UnexpectedAnswerError: It is no pod of kube-apiserver, or does not say whose tokens it issues.
    """
    flags = ServiceAccountFlags.of(parse_arguments(words_of(_pod(content, where))))
    if not flags.issuers:
        raise _unusable(where, f"It has no --{ISSUER}.")
    return flags


def setting_of(content: str, where: str, name: str) -> str:
    """Return the last value of a flag; empty: it is not there."""
    return dict(parse_arguments(words_of(_pod(content, where)))).get(name, "")


def words_of(pod: dict[str, Any]) -> list[str]:
    """Return the words of kube-apiserver's command line."""
    server = _server(pod)
    return [text(one) for one in (*items(server.get("command")), *items(server.get("args")))]


def with_flags(content: str, flags: ServiceAccountFlags, where: str) -> str:
    """Return the file with these issuers and audiences in the place of those that it has.

    Raises:
        UnexpectedAnswerError: The file is written in a way in which that cannot be done line by line.
    """
    before = _pod(content, where)
    spans = list(_spans(content, where))
    lines = _LINES.findall(content)
    if not spans:
        raise _unusable(where, f"It has no --{ISSUER}.")
    at = spans[0][0]
    indent = lines[at][: lines[at].index("-")]
    gone = {number for first, last in spans for number in range(first, last + 1)}
    new = [f"{indent}- {_scalar(f'--{name}={value}')}\n" for name, value in _settings(flags)]
    kept = [(number, line) for number, line in enumerate(lines) if number not in gone]
    written = "".join([*(line for number, line in kept if number < at), *new, *(line for number, line in kept if number > at)])
    if not _is_same_but_for_ours(before, _pod(written, where), flags):
        raise _unusable(where, "Its arguments do not stand one on a line.")
    return written


def drift(current: str, rendered: str, where: str) -> tuple[str, ...]:
    """Return the words, other than ours, that the first file gives kube-apiserver and the second does not."""
    known = set(words_of(_pod(rendered, where)))
    return tuple(word for word in _others(words_of(_pod(current, where))) if word not in known)


def difference(before: str, after: str, path: str) -> str:
    """Return what changes in a file, as `diff -u` has it, without lines that stay."""
    return "".join(difflib.unified_diff(before.splitlines(keepends=True), after.splitlines(keepends=True), path, path, n=0))


def _pod(content: str, where: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise _unusable(where, f"It is no YAML: {getattr(error, 'problem', None) or 'it cannot be read'}.") from None
    if not isinstance(document, dict) or not _server(document):
        raise _unusable(where, "It has no container kube-apiserver.")
    return document


def _server(pod: dict[str, Any]) -> dict[str, Any]:
    containers = items(mapping(pod, "spec").get("containers"))
    return next((one for one in containers if isinstance(one, dict) and one.get("name") == "kube-apiserver"), {})


def _settings(flags: ServiceAccountFlags) -> Iterator[tuple[str, str]]:
    yield from ((ISSUER, one) for one in flags.issuers)
    if flags.api_audiences:
        yield API_AUDIENCES, ",".join(flags.api_audiences)


def _spans(content: str, where: str) -> Iterator[tuple[int, int]]:
    """Yield the first and the last line of each of our arguments, in two words or in one."""
    for sequence in _sequences(yaml.compose(content, Loader=yaml.SafeLoader)):
        if sequence.flow_style:
            raise _unusable(where, "Its arguments do not stand one on a line.")
        nodes = [one for one in sequence.value if isinstance(one, yaml.ScalarNode)]
        for number, node in enumerate(nodes):
            name, has_value, _ = node.value.removeprefix("--").partition("=")
            if node.value.startswith("--") and name in _OURS:
                last = node if has_value or number + 1 == len(nodes) else nodes[number + 1]
                yield node.start_mark.line, last.end_mark.line


def _sequences(pod: yaml.Node | None) -> Iterator[yaml.SequenceNode]:
    """Yield the lists of words of kube-apiserver's container."""
    containers = _member(_member(pod, "spec"), "containers")
    for container in containers.value if isinstance(containers, yaml.SequenceNode) else ():
        name = _member(container, "name")
        if name is not None and name.value == "kube-apiserver":
            found = (_member(container, key) for key in ("command", "args"))
            yield from (one for one in found if isinstance(one, yaml.SequenceNode))


def _member(node: yaml.Node | None, key: str) -> yaml.Node | None:
    pairs: Sequence[tuple[yaml.Node, yaml.Node]] = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((value for name, value in pairs if name.value == key), None)


def _scalar(word: str) -> str:
    """Return a word as YAML reads it back; JSON is YAML."""
    return word if _PLAIN.fullmatch(word) else json.dumps(word)


def _is_same_but_for_ours(before: dict[str, Any], after: dict[str, Any], flags: ServiceAccountFlags) -> bool:
    said = [f"--{name}={value}" for name, value in _settings(flags)]
    ours = [word for word in words_of(after) if _name(word) in _OURS]
    return ours == said and _without_words(before) == _without_words(after) and _others(words_of(before)) == _others(words_of(after))


def _without_words(pod: dict[str, Any]) -> dict[str, Any]:
    containers = [
        {key: value for key, value in one.items() if key not in {"command", "args"}} if one is _server(pod) else one
        for one in items(mapping(pod, "spec").get("containers"))
    ]
    return {**pod, "spec": {**mapping(pod, "spec"), "containers": containers}}


def _others(words: Sequence[str]) -> list[str]:
    """Return the words that are neither of our flags nor their values."""
    found: list[str] = []
    is_value = False
    for word in words:
        if is_value and not word.startswith("-"):
            is_value = False
            continue
        is_value = word.removeprefix("--") in _OURS
        if _name(word) not in _OURS:
            found.append(word)
    return found


def _name(word: str) -> str:
    return word.removeprefix("--").partition("=")[0] if word.startswith("--") else ""


def _unusable(where: str, why: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(f"{where} is not what it should be.", why, "Look at it, and at its copies in /etc/kubernetes/podpass.")
