# SPDX-License-Identifier: Apache-2.0
"""The move of the issuer on k3s and RKE2: arguments that are laid before or behind the defaults. Pure.

`name-=value` goes before what is there, `name+=value` behind it, `name=value` drops the default. So nothing that is there has to be known.
"""

import shlex
from collections.abc import Iterator

import yaml

from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER
from podpass.federate.clusters.forms.lists import RANCHER_KEY
from podpass.federate.clusters.move import Move, Stage
from podpass.federate.clusters.rolling import WHO_SIGNS, gaps, servers, steps
from podpass.federate.clusters.sheet import File, Sheet, Step

_NAME = "90-podpass.yaml"


def k3s(move: Move, evidence: Evidence) -> Sheet:
    """Write the steps that are left for k3s."""
    return _sheet("k3s", "k3s", move, evidence)


def rke2(move: Move, evidence: Evidence) -> Sheet:
    """Write the steps that are left for RKE2."""
    return _sheet("RKE2", "rke2", move, evidence)


def arguments(stage: Stage, issuer: str) -> tuple[str, ...]:
    """Return the arguments of a stage."""
    if stage.name == "drop":
        return (f"{ISSUER}={issuer}", f"{API_AUDIENCES}={','.join(stage.flags.api_audiences)}")
    sign = "+" if stage.name == "accept" else "-"
    return (f"{ISSUER}{sign}={issuer}", f"{API_AUDIENCES}+={issuer}")


def drop_in(stage: Stage, issuer: str) -> str:
    """Return a file for config.yaml.d that adds to the arguments that other files give."""
    return yaml.safe_dump({f"{RANCHER_KEY}+": list(arguments(stage, issuer))}, width=1000)


def _sheet(title: str, program: str, move: Move, evidence: Evidence) -> Sheet:
    folder = f"/etc/rancher/{program}/config.yaml.d"
    notes = [
        "`podpass roll` does these steps itself, with a gate after each node.",
        f"An issuer that config.yaml gives by itself (`{ISSUER}=…`) stays until the drop, before which it has to be taken out there.",
        "kube-apiserver's key stays: it is in server/tls/service.key.",
    ]
    if move.lost:
        notes.append(f"Take {', '.join(move.lost)} out of config.yaml: the file of these steps only adds.")
    nodes = servers(evidence)

    def change(stage: Stage) -> Step:
        lines = [line for node in nodes for line in _on(node, stage, folder, program)]
        file = File(f"{stage.name}/{_NAME}", drop_in(stage, move.issuer))
        return Step(f"{stage.name.capitalize()}, one server after the other", stage.purpose, tuple(lines), (file,), stage.gate)

    return Sheet(
        f"{title}: move the issuer to {move.issuer}", (*gaps(move, several=True), *notes), steps(move, several=True, change=change)
    )


def _on(node: Node, stage: Stage, folder: str, program: str) -> Iterator[str]:
    name = shlex.quote(node.name)
    service = "k3s" if program == "k3s" else "rke2-server"
    yield f"ssh root@{name} mkdir -p {folder}"
    yield f"scp {stage.name}/{_NAME} root@{name}:{folder}/"
    yield f"ssh root@{name} systemctl restart {service}"
    yield f"kubectl wait --for=condition=Ready node/{name} --timeout=5m"
    yield WHO_SIGNS
