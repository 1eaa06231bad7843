# SPDX-License-Identifier: Apache-2.0
"""Clusters whose nodes have a shell: kubeadm's and kind's, told by the static pod on each node; k3s' and RKE2's, told by configuration.

The nodes are folders in which the real kubeadm renders; kubelet and the services are played: a static pod that has changed, or a restart
that was asked for, starts that node's real kube-apiserver anew.
"""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import yaml

from cross.machines_cluster import MachinesCluster
from cross.scripted_nodes import ScriptedNodes, sandbox
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.machines.kubeadm import KubeadmMachines
from podpass.federate.clusters.machines.rancher import RancherMachines
from podpass.federate.clusters.probe import Look, look_through
from podpass.kube.config_maps import ConfigMap
from podpass.sandbox.binaries import cache_directory

SERVICE: Final = "https://kubernetes.default.svc.cluster.local"
MANIFESTS: Final = "etc/kubernetes/manifests"
POD: Final = f"{MANIFESTS}/kube-apiserver.yaml"
NAMES: Final = ("cp-1", "cp-2", "cp-3")
_CONFIGURATION: Final = """apiVersion: kubeadm.k8s.io/{version}
kind: ClusterConfiguration
kubernetesVersion: v1.36.3
controlPlaneEndpoint: 10.0.0.1:6443
networking: {{serviceSubnet: 10.96.0.0/12}}
apiServer:
  certSANs: [demo.example]
"""
_OURS: Final = ("--service-account-issuer", "--api-audiences", "--profiling")


class ShellCluster(MachinesCluster):
    """Nodes that are folders, and the programs that reach them."""

    def __init__(self, folder: Path, scripted: ScriptedNodes) -> None:
        super().__init__(folder, scripted.nodes)
        self.scripted = scripted
        for node in self.nodes:
            scripted.set_mark(node, "port", f"{node.addresses[0]}:{self.port}")

    def look_through(self, machines: RancherMachines | KubeadmMachines) -> Look:
        """Return a look at the API servers where the machines' own files say that they are, if this machine can have them there.

        kubeadm takes no address of the loopback, and RKE2's port is fixed.
        """
        is_there = getattr(self, "program", "") == "k3s"
        return look_through(self.access, server_of=machines.server_of) if is_there else self.look


class KubeadmCluster(ShellCluster):
    """Enter it to have it run.

    Args:
        folder: Where everything is kept.
        version: Of the ClusterConfiguration.
        runtime: Of kind's nodes; empty: these are no nodes of kind's.
    """

    def __init__(self, folder: Path, *, version: str = "v1beta4", runtime: str = "") -> None:
        scripted = ScriptedNodes(folder, NAMES)
        if runtime:
            scripted.nodes = tuple(replace(node, provider_id=f"kind://{runtime}/kind/{node.name}") for node in scripted.nodes)
        super().__init__(folder, scripted)
        self.configuration = _CONFIGURATION.format(version=version)
        self.kept = ConfigMap("kube-system", "kubeadm-config", {"ClusterConfiguration": self.configuration})
        scripted.have(cache_directory() / "kubeadm")
        for number, node in enumerate(self.nodes, 1):
            self._found(node, number)

    def _found(self, node: Node, number: int) -> None:
        """Have kubeadm write the static pod, as it did when the node was made; then somebody edits it."""
        scripted = self.scripted
        scripted.file(node, MANIFESTS).mkdir(parents=True)
        version = self.configuration.splitlines()[0]
        endpoint = {"advertiseAddress": f"10.0.0.{number}", "bindPort": self.port}
        init = f"{version}\nkind: InitConfiguration\nlocalAPIEndpoint: {json.dumps(endpoint)}\n---\n"
        scripted.file(node, "etc/kubeadm.yaml").write_text(init + self.configuration)
        words = ["kubeadm", "init", "phase", "control-plane", "apiserver", "--config", "/etc/kubeadm.yaml"]
        subprocess.run([*sandbox(scripted.root(node)), *words], check=True, capture_output=True)
        file = scripted.file(node, POD)
        text = file.read_text()
        by_hand = "    - --profiling=false  # by hand: $(touch /etc/pwned); `touch /etc/pwned`\n"
        file.write_text(text.replace("    - --secure-port", f"{by_hand}    - --secure-port"))

    def rendered(self, node: Node) -> list[str]:
        words = self._pod(node)["spec"]["containers"][0]["command"]
        return [word for word in words if word.startswith(_OURS)]

    def stamp(self, node: Node) -> object:
        """Return the pod; kubelet leaves a file that it cannot read alone, and a pod that is the same."""
        try:
            return json.dumps(self._pod(node))
        except (OSError, yaml.YAMLError, TypeError):
            return self._seen[node.name]

    def _pod(self, node: Node) -> dict[str, Any]:
        pod: dict[str, Any] = yaml.safe_load(self.scripted.file(node, POD).read_text())
        return pod


class RancherCluster(ShellCluster):
    """Enter it to have it run.

    Args:
        folder: Where everything is kept.
        program: Which of the two.
    """

    def __init__(self, folder: Path, program: Literal["k3s", "rke2"]) -> None:
        service = {"k3s": "k3s", "rke2": "rke2-server"}[program]
        super().__init__(folder, ScriptedNodes(folder, NAMES, service=service, kubelet_version=f"v1.36.3+{program}1"))
        self.program = program
        for node in self.nodes:
            self.scripted.file(node, f"etc/rancher/{program}").mkdir(parents=True)
            main = {"token": "secret", "kube-apiserver-arg": ["profiling=false"], "https-listen-port": self.port}
            self.scripted.file(node, f"etc/rancher/{program}/config.yaml").write_text(yaml.safe_dump(main))

    def rendered(self, node: Node) -> list[str]:
        return rancher_flags(self.scripted.file(node, f"etc/rancher/{self.program}"), self.program)

    def stamp(self, node: Node) -> object:
        return self.scripted.restarts(node)


def rancher_flags(folder: Path, program: str) -> list[str]:
    """Return what k3s and RKE2 make of their files, from their own description: first the files, then the arguments in their order."""
    values: dict[str, Any] = {}
    for file in (folder / "config.yaml", *sorted((folder / "config.yaml.d").glob("*.yaml"))):
        for key, value in (yaml.safe_load(file.read_text()) or {}).items():
            several = value if isinstance(value, list) else [value]
            values[key.rstrip("+")] = [*values.get(key.rstrip("+"), []), *several] if key.endswith("+") else several
    flags = {"service-account-issuer": [SERVICE], "api-audiences": [f"{SERVICE},{program}"]}
    defaults = set(flags)
    for argument in values.get("kube-apiserver-arg", []):
        name, _, value = argument.partition("=")
        flag = name.rstrip("+-")
        if name == flag and flag in defaults:
            del flags[flag]
        defaults.discard(flag)
        so_far = flags.get(flag, [])
        flags[flag] = [value, *so_far] if name.endswith("-") else [*so_far, value]
    return [f"--{flag}={value}" for flag, several in sorted(flags.items()) for value in several]
