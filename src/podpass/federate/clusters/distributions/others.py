# SPDX-License-Identifier: Apache-2.0
"""k0s, minikube, MicroK8s and kops: recognised by what each of them alone leaves on its nodes."""

from typing import Final

from podpass.federate.clusters.distribution import Distribution, node_label, version_has

K0S: Final = Distribution("k0s", "k0s", version_has("+k0s"), lambda evidence: evidence.version)
MINIKUBE: Final = Distribution("minikube", "minikube", node_label("minikube.k8s.io/version", "minikube.k8s.io/name"))
MICROK8S: Final = Distribution("microk8s", "MicroK8s", node_label("microk8s.io/cluster"))
KOPS: Final = Distribution("kops", "kops", node_label("kops.k8s.io/instancegroup"), rotation="you, with `kops rotate keypairs`")
