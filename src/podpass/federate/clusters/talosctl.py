# SPDX-License-Identifier: Apache-2.0
"""A Talos cluster's machines, through `talosctl`: what kube-apiserver is told there, and telling it something else.

A machine configuration holds secrets: it is read, and neither written nor shown. What is written are patches without any.
"""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from podpass.errors import ConfigError, UnexpectedAnswerError, UnreachableError
from podpass.federate.clusters.distributions.talos import version_of
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, ServiceAccountFlags
from podpass.federate.clusters.forms import talos
from podpass.federate.clusters.roll import Changed
from podpass.federate.clusters.sheets.talos_patch import era_of, has_documents, patch
from podpass.federate.clusters.statement import mapping, text
from podpass.names.secret import redact

_TIMEOUT_S: Final = 60.0
_SHOWN_CHARS: Final = 500
_SERVICE_ACCOUNTS: Final = "KubeServiceAccountConfig"


class Talosctl:
    """Asks and changes machines, one at a time.

    Args:
        talosconfig: How to reach them; None: as talosctl finds it.
        program: talosctl's name or path.
    """

    def __init__(self, talosconfig: Path | None = None, *, program: str = "talosctl") -> None:
        self._base = [program, *(["--talosconfig", str(talosconfig)] if talosconfig else [])]

    def flags(self, node: Node) -> ServiceAccountFlags:
        """Return what the machine's configuration tells kube-apiserver.

        Raises:
            ConfigError: There is no talosctl.
            UnreachableError: It fails.
            UnexpectedAnswerError: What it prints is no configuration.
        """
        return flags_of(self._config(node))

    def preview(self, node: Node, flags: ServiceAccountFlags) -> str:
        """Return the patch that the machine would get.

        Raises:
            ConfigError: There is no talosctl, or this Talos is not known.
            UnreachableError: It fails.
        """
        return patch(flags, era_of(version_of(node) or ""), has_documents=has_documents(self._config(node)))

    def unfinished(self, node: Node) -> bool:  # noqa: ARG002 - of every node
        """Talos brings what it has taken to its end."""
        return False

    def change(self, node: Node, flags: ServiceAccountFlags) -> Changed:
        """Bring issuers and audiences to the machine, if Talos takes the patch; it renders kube-apiserver anew and restarts nothing else.

        Raises:
            ConfigError: There is no talosctl, or this Talos is not known.
            UnreachableError: It fails, or refuses the patch; then nothing was changed.
        """
        documents = has_documents(self._config(node))
        content = patch(flags, era_of(version_of(node) or ""), has_documents=documents)
        with tempfile.TemporaryDirectory(prefix="podpass-") as folder:
            file = Path(folder) / "patch.yaml"
            file.write_text(content, encoding="utf-8")
            # `no-reboot`: a change that would need one is refused, in every era; `auto` reboots until 1.12.
            command = ["patch", "machineconfig", "--mode", "no-reboot", "--patch", f"@{file}"]
            self._run(node, [*command, "--dry-run"])
            self._run(node, command)
        return Changed()

    def _config(self, node: Node) -> str:
        return self._run(node, ["get", "machineconfig", "v1alpha1", "-o", "jsonpath={.spec}"])

    def _run(self, node: Node, command: Sequence[str]) -> str:
        words = [*self._base, "--nodes", node.addresses[0] if node.addresses else node.name, *command]
        shown = f"`talosctl {' '.join(command[:2])}` on {node.name}"
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - words, and no shell
        except (FileNotFoundError, PermissionError):  # the latter where a folder of PATH is not this user's to search
            raise ConfigError("There is no talosctl.", f"{self._base[0]} is not on PATH.", "Install it.", code="config.talosctl") from None
        except subprocess.TimeoutExpired:
            raise UnreachableError(f"{shown} did not end within {_TIMEOUT_S:.0f} s.") from None
        if done.returncode != 0:
            raise UnreachableError(
                f"{shown} failed.", redact(done.stderr.strip())[-_SHOWN_CHARS:], "Correct it, and run the command again."
            )
        return done.stdout


def flags_of(machine_config: str) -> ServiceAccountFlags:
    """Return what Talos makes of a configuration: the endpoint, over it the document of service accounts, over both the extra arguments.

    Raises:
        UnexpectedAnswerError: It is no machine configuration.
    """
    try:
        documents = [one for one in yaml.safe_load_all(machine_config) if isinstance(one, dict)]
    except yaml.YAMLError:
        documents = []
    if not documents:
        raise UnexpectedAnswerError("talosctl's answer is not a machine configuration.")
    told: dict[str, list[str]] = {}
    for document in documents:
        if endpoint := text(mapping(document, "cluster", "controlPlane").get("endpoint")):
            told = {ISSUER: [endpoint], API_AUDIENCES: [endpoint]}
    for document in sorted(documents, key=lambda one: one.get("kind") != _SERVICE_ACCOUNTS):  # the document of service accounts first
        told |= _said(document)
    return ServiceAccountFlags.of((name, value) for name, values in told.items() for value in values)


def _said(document: dict[str, Any]) -> dict[str, list[str]]:
    kind = document.get("kind")
    if kind == _SERVICE_ACCOUNTS:
        statements = talos.read_service_account(document, "")
    elif kind == "KubeAPIServerConfig":
        statements = talos.read_api_server(document, "")
    elif kind is None:
        statements = talos.read_config(document, "")
    else:
        return {}
    told: dict[str, list[str]] = {}
    for name, value in (setting for statement in statements for setting in statement.settings):
        told.setdefault(name, []).append(value)
    return told
