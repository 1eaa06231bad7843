# SPDX-License-Identifier: Apache-2.0
"""A shell as root on a node: a script goes in, what it prints comes out.

How a node is reached is the operator's: a command of fixed words, run without a shell of this machine, with the operator's own
configuration of ssh, keys and known hosts. The one word that comes from the cluster is the node's name or address, and it is judged first.
What the command reaches has to be the machine of which the cluster speaks: two clusters may call their nodes alike.
"""

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from podpass.errors import ConfigError, UnexpectedAnswerError, UnreachableError, UnsafePlanError
from podpass.federate.clusters.evidence import Node, address_of
from podpass.federate.clusters.machines.script import LIMIT_BYTES, Answer, compose, is_machine, parse
from podpass.names.secret import redact

_TIMEOUT_S: Final = 120.0
_SHOWN_CHARS: Final = 500
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_CURES: Final[Mapping[str, tuple[str, str]]] = {
    "other-machine": (
        "It is another machine than the node: its machine id or its boot id is another.",
        "Correct the command in spec.cluster.nodes, or where it leads to.",
    ),
    "too-large": (f"A file of its configuration is larger than {LIMIT_BYTES} bytes.", ""),
    "changed": ("Its configuration was changed after it was read.", "Run it again, and look at what it shows."),
    "not-written": ("A file did not get there whole; it was not put in place.", "Look at the space on its disk, and run it again."),
}


class Shell(Protocol):
    """A shell on each node."""

    def run(self, node: Node, *parts: str, refusals: Mapping[str, tuple[str, str]] | None = None) -> Answer:
        """Run a script, and return what it gave.

        Args:
            node: Where.
            parts: Lines of `sh`, as `script.compose` takes them.
            refusals: Reasons for which this script refuses, with the sentences that say why and what next.

        Raises:
            ConfigError: The command is not there, or leads to another machine.
            UnsafePlanError: The script refuses for another reason; the node is as it was.
            UnreachableError: The node cannot be reached, or the script fails.
            UnexpectedAnswerError: It does not come to its end.
        """


class CommandShell:
    """Reaches nodes by a command.

    Args:
        words: The command; `{node}` in one of them stands for a node's name, `{address}` for its address.
    """

    def __init__(self, words: Sequence[str]) -> None:
        self._words = tuple(words)

    def run(self, node: Node, *parts: str, refusals: Mapping[str, tuple[str, str]] | None = None) -> Answer:
        """Run a script, and return what it gave."""
        words = command_for(node, self._words)
        shown = f"`{' '.join(words)}`"
        script = compose(_identity(node), *parts)
        done = call(words, script.text.encode(), shown)
        answer = parse(done.stdout, script.mark)
        if answer is None:
            words_of_it = redact(done.stderr.decode("utf-8", "replace").strip())[-_SHOWN_CHARS:]
            if done.returncode:
                raise UnreachableError(f"{shown} failed.", words_of_it, "Correct it, and run the command again.")
            raise UnexpectedAnswerError(
                f"{shown} did not run the script to its end.",
                words_of_it or "It printed nothing of it.",
                "Let it run a shell on the node that reads the script from standard input; `sh` at its end does.",
            )
        if answer.refused:
            why, cure = {**_CURES, **(refusals or {})}.get(answer.refused, ("", ""))
            if answer.refused == "other-machine":
                raise ConfigError(f"{shown} does not reach {node.name}.", why, cure, code="config.nodes")
            raise UnsafePlanError(f"Nothing was changed on {node.name}.", why, cure)
        return answer


def command_for(node: Node, words: Sequence[str]) -> tuple[str, ...]:
    """Return the words that reach a node.

    Raises:
        ConfigError: Its name or its address is none.
    """
    if not _NAME.fullmatch(node.name):
        raise ConfigError(f"{node.name!r} is no name of a node.", "Kubernetes has no such names.", "", code="config.nodes")
    values = {"{node}": lambda: node.name, "{address}": lambda: own_address(node)}
    return tuple(_filled(word, values) for word in words)


def _filled(word: str, values: Mapping[str, Callable[[], str]]) -> str:
    for name, value in values.items():
        if name in word:
            return word.replace(name, value())
    return word


def own_address(node: Node) -> str:
    """Return a node's first address.

    Raises:
        ConfigError: It has none.
    """
    found = address_of(next(iter(node.addresses), None))
    if found is None:
        raise ConfigError(f"The node {node.name} has no address.", "Its status names none.", "Look at its kubelet.", code="config.nodes")
    return found


def _identity(node: Node) -> str:
    """Return lines that end the script on another machine.

    Raises:
        ConfigError: The node does not say which machine it is.
    """
    if not node.boot_id:  # machines that were made from one image may have one machine id
        raise ConfigError(
            f"The node {node.name} does not say which machine it is.",
            "Its status has no boot id, so nobody can tell whether the right machine is reached.",
            "Look at its kubelet.",
            code="config.nodes",
        )
    return is_machine(node.machine_id, node.boot_id)


def call(words: Sequence[str], stdin: bytes, shown: str) -> "subprocess.CompletedProcess[bytes]":
    """Run words, without a shell, to their end.

    Raises:
        ConfigError: There is no such program.
        UnreachableError: It does not end.
    """
    try:
        return subprocess.run(words, input=stdin, capture_output=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - words, and no shell
    except (FileNotFoundError, PermissionError):
        raise ConfigError(
            f"There is no {words[0]}.", "It is not on PATH.", "Install it, or write another command.", code="config.nodes"
        ) from None
    except subprocess.TimeoutExpired:
        raise UnreachableError(f"{shown} did not end within {_TIMEOUT_S:.0f} s.") from None
