# SPDX-License-Identifier: Apache-2.0
"""The move of a Talos cluster's issuer, with talosctl. Pure."""

import shlex
from typing import Final

from podpass.errors import ConfigError
from podpass.federate.clusters.distributions.talos import release
from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.move import Move, Stage
from podpass.federate.clusters.rolling import gaps, gate_commands, servers, steps
from podpass.federate.clusters.sheet import File, Sheet, Step
from podpass.federate.clusters.sheets.talos_patch import Era, era_of, patch, takes_several_issuers

SINGLE_KEY: Final = (
    "The signing key stays. Talos before 1.14 verifies with that one key only: a new key there would end every token at once, on one node "
    "after the other."
)


def sheet(move: Move, evidence: Evidence) -> Sheet:
    """Write the steps that are left.

    Raises:
        ConfigError: No node tells which Talos it runs.
    """
    version = release(evidence)
    if version is None:
        raise ConfigError(
            "The version of Talos is not known.",
            evidence.silent.get("nodes", "") or "No node of the control plane tells it.",
            "Let the operator list nodes, and check the context: a node of Talos names its version in status.nodeInfo.osImage.",
            code="config.talos-version",
        )
    era = era_of(version)
    several = takes_several_issuers(era)
    notes = [
        "`podpass roll` does these steps itself, with a gate after each node.",
        f"The oldest Talos of the control plane is {version}: {era}.",
        SINGLE_KEY,
    ]
    nodes = servers(evidence)
    return Sheet(
        f"Talos: move the issuer to {move.issuer}",
        (*gaps(move, several=several), *notes),
        steps(move, several=several, change=lambda stage: _step(stage, era, nodes)),
    )


def _step(stage: Stage, era: Era, nodes: tuple[Node, ...]) -> Step:
    files = [File(f"{stage.name}.yaml", patch(stage.flags, era, has_documents=False))]
    choice: tuple[str, ...] = ()
    if era is Era.DOCUMENTS:
        files.append(File(f"{stage.name}-document.yaml", patch(stage.flags, era, has_documents=True)))
        choice = (
            f"# A configuration with a KubeAPIServerConfig takes {stage.name}-document.yaml instead:",
            "# talosctl get machineconfig v1alpha1 -o jsonpath='{.spec}' | grep KubeAPIServerConfig",
        )
    lines = [line for node in nodes for line in _on(node, stage)]
    return Step(f"{stage.name.capitalize()}, one node after the other", stage.purpose, (*choice, *lines), tuple(files), stage.gate)


def _on(node: Node, stage: Stage) -> tuple[str, ...]:
    address = shlex.quote(node.addresses[0] if node.addresses else node.name)
    change = f"talosctl --nodes {address} patch machineconfig --patch @{stage.name}.yaml"
    return (f"{change} --dry-run", change, *gate_commands(node, stage.flags))
