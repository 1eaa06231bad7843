# SPDX-License-Identifier: Apache-2.0
"""The move of the issuer on clusters that kubeadm made: kubeadm itself, kind, Cluster API. Pure.

ClusterConfiguration gives kube-apiserver the issuer that signs. The others stand in a patch of the static pod, which kubeadm appends:
v1beta3 takes one value for a flag, and kubeadm before 1.36 sorts several by value, so that the alphabet would choose the one that signs.
"""

import json
import shlex
from collections.abc import Mapping
from typing import Any, Final

import yaml

from podpass.errors import ConfigError
from podpass.federate.clusters.distributions.kubeadm import config_version
from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, ServiceAccountFlags, parse_arguments
from podpass.federate.clusters.move import Move, Stage
from podpass.federate.clusters.rolling import gaps, gate_commands, servers, steps
from podpass.federate.clusters.sheet import File, Sheet, Step

FOLDER: Final = "/etc/kubernetes/podpass"
PATCH: Final = "kube-apiserver0podpass+json.yaml"
_OURS: Final = frozenset({ISSUER, API_AUDIENCES})
_LISTS: Final = frozenset({"v1beta4"})


def configuration(current: str, flags: ServiceAccountFlags) -> str:
    """Return a ClusterConfiguration with the issuer that signs and the audiences; everything else is as it was.

    Raises:
        ConfigError: Of another version than v1beta3 and v1beta4.
    """
    version = config_version(current)
    if version not in {"v1beta3", *_LISTS}:
        raise ConfigError(
            f"kubeadm's configuration is {version or 'of no version'}.", "podpass knows v1beta3 and v1beta4.", code="config.kubeadm"
        )
    content: dict[str, Any] = yaml.safe_load(current)
    server = content["apiServer"] = content.get("apiServer") or {}
    ours = {ISSUER: flags.issuers[0], API_AUDIENCES: ",".join(flags.api_audiences)}
    given = server.get("extraArgs")
    if version in _LISTS:
        kept = [one for one in given or () if not isinstance(one, dict) or one.get("name") not in _OURS]
        server["extraArgs"] = [*kept, *({"name": name, "value": value} for name, value in ours.items())]
    else:
        server["extraArgs"] = {**(given or {}), **ours}
    return yaml.safe_dump(content, sort_keys=False, width=1000)


def pod_patch(flags: ServiceAccountFlags) -> str:
    """Return the patch of the static pod that appends the issuers that are accepted and do not sign."""
    path = "/spec/containers/0/command/-"
    return json.dumps([{"op": "add", "path": path, "value": f"--{ISSUER}={one}"} for one in flags.issuers[1:]], indent=2) + "\n"


def on_node(current: str, flags: ServiceAccountFlags, node: Node, port: int) -> str:
    """Return the file that one node's `kubeadm init phase` reads: its address and the patches, and the cluster's configuration."""
    init: dict[str, Any] = {"apiVersion": yaml.safe_load(current)["apiVersion"], "kind": "InitConfiguration"}
    if node.addresses:
        init["localAPIEndpoint"] = {"advertiseAddress": node.addresses[0], "bindPort": port}
    if len(flags.issuers) > 1:
        init["patches"] = {"directory": f"{FOLDER}/patches"}
    return f"{yaml.safe_dump(init, sort_keys=False)}---\n{configuration(current, flags)}"


def sheet(move: Move, evidence: Evidence) -> Sheet:
    """Write the steps that are left for a cluster of kubeadm's, or of kind's.

    Raises:
        ConfigError: kubeadm's configuration cannot be read, or is of an unknown version.
    """
    current = kept_configuration(evidence)
    nodes = servers(evidence)
    ports = {node.name: _port(evidence, node) for node in nodes}
    is_kind = any(node.provider_id.startswith("kind://") for node in nodes)
    notes = (
        "`podpass roll` does these steps itself, with a gate after each node, and keeps what was written into a static pod by hand.",
        "Flags in kubeadm's configuration survive. One that was written into a static pod by hand does not: each step's `diff` shows it.",
        f"Give `kubeadm upgrade` the patches ever after: --patches {FOLDER}/patches, or patches.directory of an UpgradeConfiguration.",
    )
    return Sheet(
        f"{'kind' if is_kind else 'kubeadm'}: move the issuer to {move.issuer}",
        (*gaps(move, several=True), *notes),
        steps(move, several=True, change=lambda stage: _step(stage, current, nodes, ports, is_kind=is_kind)),
    )


def cluster_api(move: Move, evidence: Evidence) -> Sheet:
    """Write what is left for a KubeadmControlPlane: its machines are replaced one after the other."""
    version = config_version(evidence.kubeadm or "")

    def change(stage: Stage) -> Step:
        ours = {ISSUER: stage.flags.issuers[0], API_AUDIENCES: ",".join(stage.flags.api_audiences)}
        arguments: object = ours if version == "v1beta3" else [{"name": name, "value": value} for name, value in ours.items()]
        spec: dict[str, Any] = {"clusterConfiguration": {"apiServer": {"extraArgs": arguments}}}
        if len(stage.flags.issuers) > 1:
            folder = {"patches": {"directory": f"{FOLDER}/patches"}}
            file = {"path": f"{FOLDER}/patches/{PATCH}", "owner": "root:root", "permissions": "0600", "content": pod_patch(stage.flags)}
            spec |= {"initConfiguration": folder, "joinConfiguration": folder, "files": [file]}
        content = yaml.safe_dump({"spec": {"kubeadmConfigSpec": spec}}, sort_keys=False, width=1000)
        commands = (
            "kubectl get kubeadmcontrolplane -A  # in the management cluster",
            f"kubectl -n NAMESPACE edit kubeadmcontrolplane NAME  # merge {stage.name}.yaml: add to files and extraArgs",
            "kubectl -n NAMESPACE rollout status kubeadmcontrolplane NAME || kubectl -n NAMESPACE get machines --watch",
        )
        title = f"{stage.name.capitalize()}: the control plane's machines are replaced"
        return Step(title, stage.purpose, commands, (File(f"{stage.name}.yaml", content),), stage.gate)

    notes = (
        "extraArgs of Cluster API takes a name once, so the other issuer stands in a patch of the static pod.",
        "v1beta1 of KubeadmControlPlane writes extraArgs as a map, v1beta2 as a list of name and value: keep the form that is there.",
    )
    return Sheet(
        f"Cluster API: move the issuer to {move.issuer}", (*gaps(move, several=True), *notes), steps(move, several=True, change=change)
    )


def _step(stage: Stage, current: str, nodes: tuple[Node, ...], ports: Mapping[str, int], *, is_kind: bool) -> Step:
    folder = stage.name
    files = [File(f"{folder}/{node.name}/kubeadm.yaml", on_node(current, stage.flags, node, ports[node.name])) for node in nodes]
    if len(stage.flags.issuers) > 1:
        files.append(File(f"{folder}/patches/{PATCH}", pod_patch(stage.flags)))
    lines = [line for node in nodes for line in _on(node, stage, is_kind=is_kind)]
    upload = f"kubeadm init phase upload-config kubeadm --config {FOLDER}/kubeadm.yaml"
    keep = f"{_run(nodes[0], upload, is_kind=is_kind)}  # so that an upgrade keeps it"
    return Step(f"{stage.name.capitalize()}, one node after the other", stage.purpose, (*lines, keep), tuple(files), stage.gate)


def _on(node: Node, stage: Stage, *, is_kind: bool) -> tuple[str, ...]:
    name = shlex.quote(node.name)
    copy, to = ("docker cp", f"{name}:{FOLDER}/") if is_kind else ("scp -r", f"root@{name}:{FOLDER}/")
    phase = f"kubeadm init phase control-plane apiserver --config {FOLDER}/kubeadm.yaml"
    dry = f"KUBEADM_INIT_DRYRUN_DIR={FOLDER}/dry-run {phase} --dry-run"
    # An older kubeadm makes folders of its own in there.
    diff = f"diff /etc/kubernetes/manifests/kube-apiserver.yaml $(find {FOLDER}/dry-run -name kube-apiserver.yaml)"
    patches = (f"{copy} {stage.name}/patches {to}",) if len(stage.flags.issuers) > 1 else ()
    return (
        _run(node, f"rm -rf {FOLDER}/dry-run {FOLDER}/patches && mkdir -p -m 700 {FOLDER} {FOLDER}/dry-run", is_kind=is_kind),
        f"{copy} {stage.name}/{name}/kubeadm.yaml {to}",
        *patches,
        _run(node, f"{dry} && {diff}", is_kind=is_kind),
        _run(node, phase, is_kind=is_kind),
        *gate_commands(node, stage.flags),
    )


def _run(node: Node, command: str, *, is_kind: bool) -> str:
    name = shlex.quote(node.name)
    return f"docker exec {name} sh -c {shlex.quote(command)}" if is_kind else f"ssh root@{name} {shlex.quote(command)}"


def kept_configuration(evidence: Evidence) -> str:
    """Return the ClusterConfiguration that the cluster keeps.

    Raises:
        ConfigError: There is none, or nobody may read it.
    """
    if evidence.kubeadm is None:
        raise ConfigError(
            "kubeadm's configuration cannot be read.",
            evidence.silent.get("kubeadm", "There is no config map kube-system/kubeadm-config."),
            "Let the operator read it, or name the distribution in spec.cluster.distribution.",
            code="config.kubeadm",
        )
    return evidence.kubeadm


def _port(evidence: Evidence, node: Node) -> int:
    """Return the port of a node's API server, as its command line has it, or kubeadm's default."""
    given = (dict(parse_arguments(command)) for command in evidence.commands)
    ports = [one.get("secure-port", "") for one in given if one.get("advertise-address") in node.addresses]
    return int(ports[0]) if ports and ports[0].isdecimal() else 6443
