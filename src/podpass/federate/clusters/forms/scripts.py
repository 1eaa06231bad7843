# SPDX-License-Identifier: Apache-2.0
"""Shell scripts: the patches and the options that they hand to talosctl. Pure; nothing is run.

A variable that stands in a patch stays as it is, `${NAME}`.
"""

import itertools
import json
import shlex
from collections.abc import Iterator
from typing import Final

import yaml

from podpass.federate.clusters.forms import talos
from podpass.federate.clusters.statement import Statement

# Real before Talos 1.0, deprecated until 1.3, gone by 1.5.
_REMOVED: Final = frozenset({"--immediate", "--on-reboot"})
_PATCH: Final = ("--patch", "-p")
_SEPARATORS: Final = ";|&"


def is_script(content: str) -> bool:
    """Whether it looks like a script that drives Talos."""
    return "talosctl" in content


def read_script(content: str, where: str) -> Iterator[Statement]:
    """Read each call of talosctl."""
    for words in _calls(content):
        removed = tuple(sorted(_REMOVED & {word.partition("=")[0] for word in words}))
        if removed:
            yield Statement(where, "talosctl", options=removed)
        for patch in _patches(words):
            yield from _read_patch(patch, where)


def _calls(content: str) -> Iterator[list[str]]:
    """Yield the words of each call, from `talosctl` to the end of the command; lines that are continued are one."""
    for line in content.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=_SEPARATORS)
        lexer.whitespace_split = True
        try:
            words = list(lexer)
        except ValueError:  # quotes that are closed on a later line: a text for people, or a document of the shell
            continue
        for _, group in itertools.groupby(words, lambda word: not word.strip(_SEPARATORS)):
            call = list(group)
            if "talosctl" in call:
                yield call[call.index("talosctl") :]


def _patches(words: list[str]) -> Iterator[str]:
    for number, word in enumerate(words):
        option, has_value, value = word.partition("=")
        if option in _PATCH and has_value:
            yield value
        elif word in _PATCH and number + 1 < len(words):
            yield words[number + 1]


def _read_patch(patch: str, where: str) -> Iterator[Statement]:
    if patch.startswith("@"):  # a file; it is named to podpass by itself
        return
    try:
        document = json.loads(patch)
    except ValueError:
        try:
            document = yaml.safe_load(patch)
        except yaml.YAMLError:
            return
    if talos.is_json_patch(document):
        yield from talos.read_json_patch(document, where)
    elif talos.is_config(document):
        yield from talos.read_config(document, where)
