# SPDX-License-Identifier: Apache-2.0
"""From a faults file's bytes to `Faults`, or to every mistake in it."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import ClassVar

from podpass.config.document import new_report, read_file
from podpass.config.mistakes import FileMistakesError, Report
from podpass.config.spelling import nearest
from podpass.errors import ConfigError
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.weather.faults import Faults
from podpass.sandbox.weather.fields import DOCUMENT, KIND, SpecDraft

_KUBERNETES = "kubernetes"


class FaultsFileError(FileMistakesError):
    """A faults file is wrong."""

    code = "config.faults-file"
    next_step_for_all: ClassVar[str] = "Correct what is listed; the weather has not changed."


def load(path: Path, *, kubernetes: bool) -> Faults:
    """Read a faults file; as `parse`.

    Raises:
        FaultsFileError: Anything in it is wrong.
        ConfigError: It cannot be read.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read.", f"{error.strerror or error}.", "Name a faults file.", code="config.unreadable"
        ) from error
    return parse(raw, path, kubernetes=kubernetes)


def parse(raw: bytes, path: Path, *, kubernetes: bool) -> Faults:
    """Read a faults file's bytes.

    Args:
        raw: YAML, or JSON, which is YAML too.
        path: What messages call it.
        kubernetes: Whether the sandbox has the built-in API server, the only one that faults can strike.

    Raises:
        FaultsFileError: Anything in it is wrong; holds every mistake.
    """
    report = new_report(DOCUMENT)
    check = partial(_check_patterns, kubernetes=kubernetes)
    read = read_file(raw, DOCUMENT, KIND, report, check=check, empty=f"Write a document of kind {KIND}.")
    if read is None:
        raise FaultsFileError(path, report.mistakes)
    name, spec = read
    return Faults(name, spec.seed, spec.google, spec.rules)


def _check_patterns(spec: SpecDraft, report: Report, *, kubernetes: bool) -> None:
    """Note each pattern that can never fit: a rule that strikes nothing would pass for fair weather."""
    methods = sorted({method.id for service in SERVICES for method in service.methods})
    hosts = sorted({host for service in SERVICES for host in service.hosts})
    if kubernetes:
        methods, hosts = [*methods, *_kubernetes_methods()], [*hosts, _KUBERNETES]
    for index, rule in enumerate(spec.rules):
        for key, pattern, known in (("method", rule.match.method, methods), ("host", rule.match.host, hosts)):
            if not any(fnmatchcase(each, pattern) for each in known):
                hint = _hint(pattern, known, kubernetes=kubernetes)
                report.at(f"spec.rules[{index}].match.{key}", f"No {key} of this sandbox is {pattern!r}.", hint, code="config.fault")


def _hint(pattern: str, known: Iterable[str], *, kubernetes: bool) -> str:
    if pattern.startswith(_KUBERNETES) and not kubernetes:
        return "Only the built-in API server has weather; a real control plane has not."
    meant = nearest(pattern, list(known))
    return f"Did you mean {meant!r}?" if meant else "docs/reference/faults.md lists them."


def _kubernetes_methods() -> Iterator[str]:
    from podpass.sandbox.kubernetes import discovery  # noqa: PLC0415 - a sandbox without a cluster does not pay for one

    for group in ("", *discovery.GROUPS):
        for resource in discovery.resources(group)["resources"]:
            yield from (f"{_KUBERNETES}.{resource['name']}.{verb}" for verb in resource["verbs"])
