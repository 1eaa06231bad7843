# SPDX-License-Identifier: Apache-2.0
"""The configuration of k3s and RKE2 as files on a node: what they come to for kube-apiserver, and the one file that is podpass's. Pure.

Source:
    https://docs.k3s.io/installation/configuration: config.yaml first, then config.yaml.d by name; a later value takes the place of an
    earlier one, and a key that ends in `+` appends. Of the arguments, `x=v` drops the default, `x+=v` goes behind what is there, `x-=v`
    before it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml

from podpass.errors import UnexpectedAnswerError, UnsafePlanError
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, ServiceAccountFlags
from podpass.federate.clusters.forms.lists import RANCHER_KEY
from podpass.federate.clusters.statement import items, text
from podpass.names.secret import redact

OURS: Final = "config.yaml.d/90-podpass.yaml"
_MAIN: Final = "config.yaml"
_DOMAIN: Final = "cluster.local"
_ARGUMENT: Final = re.compile(r"(?:--)?([A-Za-z0-9-]+?)([+-]?)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Files:
    """The configuration of one server.

    Attributes:
        program: `k3s` or `rke2`.
        contents: Each file by its path below the folder of the configuration.
    """

    program: str
    contents: Mapping[str, str]

    @property
    def ours(self) -> str:
        """The file that is podpass's; empty: there is none."""
        return self.contents.get(OURS, "")

    def with_ours(self, content: str) -> "Files":
        """Return the same with another file of podpass's; empty: without one."""
        others = {path: one for path, one in self.contents.items() if path != OURS}
        return Files(self.program, {**others, OURS: content} if content else others)

    def flags(self, where: str) -> ServiceAccountFlags:
        """Return what kube-apiserver is told.

        Raises:
            UnexpectedAnswerError: One of the files is no mapping in YAML.
        """
        return ServiceAccountFlags.of(self._settings(where))

    def value(self, key: str, where: str) -> str:
        """Return the last value of a key; empty: nobody gives it."""
        values = self._merged(where).get(key, [])
        return text(values[-1]) if values else ""

    def _settings(self, where: str) -> Iterator[tuple[str, str]]:
        merged = self._merged(where)
        issuer = f"https://kubernetes.default.svc.{text((merged.get('cluster-domain') or [_DOMAIN])[-1])}"
        defaults = {ISSUER: issuer, API_AUDIENCES: f"{issuer},{self.program}"}
        found = _laid(defaults, (text(one) for one in merged.get(RANCHER_KEY, [])))
        yield from ((name, value) for name, values in found.items() for value in values)

    def _merged(self, where: str) -> dict[str, list[Any]]:
        merged: dict[str, list[Any]] = {}
        for path in sorted(self.contents, key=lambda one: (one != _MAIN, one.encode())):
            for key, value in _mapping(self.contents[path], f"{redact(path)} of {where}").items():
                name, values = str(key).removesuffix("+"), items(value) if isinstance(value, list) else [value]
                merged[name] = [*merged.get(name, []), *values] if str(key).endswith("+") else values
        return merged


def with_flags(files: Files, flags: ServiceAccountFlags, where: str) -> str:
    """Return the content of podpass's file that brings these issuers and audiences; empty: none is needed.

    What other files give is laid around, not repeated: kube-apiserver does not start when it is given an issuer twice.

    Raises:
        UnsafePlanError: The other files do not allow it.
    """
    base = files.with_ours("").flags(where)
    for issuers in _of_issuers(base.issuers, flags.issuers):
        for audiences in _of_audiences(base.accepted_audiences, flags.accepted_audiences):
            content = _written((*issuers, *audiences))
            if _is_same(files.with_ours(content).flags(where), flags):
                return content
    raise UnsafePlanError(
        f"Nothing was changed on {where}: its own configuration stands against it.",
        f"Without podpass's file it comes to {redact(f'{base.issuers} and {base.accepted_audiences}')}; "
        f"{', '.join(flags.issuers)} and {', '.join(flags.accepted_audiences)} are wanted.",
        f"Take {ISSUER} and {API_AUDIENCES} out of the other files there, and run this again: podpass's file brings them.",
    )


def _written(arguments: Sequence[str]) -> str:
    return yaml.safe_dump({f"{RANCHER_KEY}+": list(arguments)}, width=1000) if arguments else ""


def _of_issuers(base: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the arguments that may bring issuers: none, behind what is there, before it, and in its place."""
    if wanted == base:
        yield ()
    yield tuple(f"{ISSUER}+={one}" for one in wanted if one not in base)
    yield tuple(f"{ISSUER}-={one}" for one in reversed(wanted) if one not in base)
    yield tuple(f"{ISSUER}={one}" for one in wanted)


def _of_audiences(base: tuple[str, ...], wanted: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if set(wanted) == set(base):
        yield ()
    yield tuple(f"{API_AUDIENCES}+={one}" for one in wanted if one not in base)
    yield (f"{API_AUDIENCES}={','.join(wanted)}",)


def _is_same(found: ServiceAccountFlags, wanted: ServiceAccountFlags) -> bool:
    return found.issuers == wanted.issuers and sorted(found.accepted_audiences) == sorted(wanted.accepted_audiences)


def _laid(defaults: dict[str, str], arguments: Iterable[str]) -> dict[str, list[str]]:
    """Lay arguments over the defaults, in their order."""
    found = {name: [value] for name, value in defaults.items()}
    given: set[str] = set()
    for argument in arguments:
        match = _ARGUMENT.fullmatch(argument)
        if not match:
            continue
        name, where, value = match[1], match[2], match[3] if match[3] is not None else "true"
        so_far = found.get(name, []) if where or name in given else []
        found[name] = [value, *so_far] if where == "-" else [*so_far, value]
        given.add(name)
    return found


def _mapping(content: str, where: str) -> dict[Any, Any]:
    try:
        document = yaml.safe_load(content)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise UnexpectedAnswerError(f"{where} is no YAML.", f"{str(problem).capitalize()}.", "Correct it.") from None
    if document is not None and not isinstance(document, dict):
        raise UnexpectedAnswerError(f"{where} is no mapping.", "k3s and RKE2 read keys and values.", "Correct it.")
    return document or {}
