# SPDX-License-Identifier: Apache-2.0
"""What a person does to the control plane in a step of a key's rotation, by distribution. Pure.

Facts are those of the distributions' own documents and sources: which file holds the keys, what reads it, when.
"""

from collections.abc import Mapping
from typing import Final

from podpass.federate.rotation.instruction import ONE_BY_ONE, Instruction
from podpass.federate.rotation.key.rotation import Phase

_NEW_KEY: Final = "openssl genrsa -out sa-new.key 2048 && openssl rsa -in sa-new.key -pubout -out sa-new.pub"
_PURPOSE: Final[Mapping[Phase, str]] = {
    Phase.ANNOUNCE: "Make a key, and let every API server accept and publish it beside the old one. The old one goes on signing.",
    Phase.SWITCH: "Let every API server sign with the key that stays. Both go on being accepted.",
    Phase.RETIRE: "Let no API server accept the leaving key any more.",
}
_FLAGS: Final[Mapping[Phase, tuple[str, ...]]] = {
    Phase.ANNOUNCE: (_NEW_KEY, "kube-apiserver: add --service-account-key-file=sa-new.pub beside the present one"),
    Phase.SWITCH: (
        "kube-apiserver: --service-account-signing-key-file=<the key that stays>; both --service-account-key-file stay",
        "kube-controller-manager: --service-account-private-key-file=<the key that stays>",
    ),
    Phase.RETIRE: ("kube-apiserver: take the leaving key's --service-account-key-file away",),
}
_PKI = "/etc/kubernetes/pki"
_KUBEADM: Final[Mapping[Phase, tuple[str, ...]]] = {
    Phase.ANNOUNCE: (
        _NEW_KEY,
        "# on each control-plane node, with both files copied to it",
        f"cat sa-new.pub >> {_PKI}/sa.pub    # a key file may hold several keys",
        "crictl pods --name kube-apiserver -q | xargs -r crictl stopp   # it reads its keys when it starts",
    ),
    Phase.SWITCH: (
        "# on each control-plane node",
        f"cp {_PKI}/sa.key {_PKI}/sa-old.key    # keep it until the end: the way back needs it",
        f"cp sa-new.key {_PKI}/sa.key    # on the way back: cp {_PKI}/sa-old.key {_PKI}/sa.key",
        "crictl pods --name 'kube-(apiserver|controller-manager)' -q | xargs -r crictl stopp",
    ),
    Phase.RETIRE: (
        "# on each control-plane node",
        f"cp sa-new.pub {_PKI}/sa.pub && rm {_PKI}/sa-old.key    # on the way back: the old public key stays instead",
        "crictl pods --name kube-apiserver -q | xargs -r crictl stopp",
    ),
}
_K3S: Final[Mapping[Phase, tuple[str, ...]]] = {
    Phase.ANNOUNCE: (
        "# k3s and RKE2 keep all keys in one file, and the first one signs; on one server:",
        "openssl genrsa -traditional -out sa-new.key 2048",
        "mkdir -p /opt/k3s/server/tls && cat /var/lib/rancher/k3s/server/tls/service.key sa-new.key > /opt/k3s/server/tls/service.key",
        "k3s certificate rotate-ca --path=/opt/k3s/server    # then restart k3s on each server",
    ),
    Phase.SWITCH: (
        "cat sa-new.key sa-old.key > /opt/k3s/server/tls/service.key    # the key that stays comes first",
        "k3s certificate rotate-ca --path=/opt/k3s/server    # then restart k3s on each server",
    ),
    Phase.RETIRE: (
        "cp sa-new.key /opt/k3s/server/tls/service.key    # the key that stays, alone",
        "k3s certificate rotate-ca --path=/opt/k3s/server    # then restart k3s on each server",
    ),
}
_TALOS: Final[Mapping[Phase, tuple[str, ...]]] = {
    Phase.ANNOUNCE: (
        "# Talos 1.14 and later; before that a cluster can have one key only, and it cannot be rotated without refused tokens",
        _NEW_KEY,
        "# patch.yaml: apiVersion: v1alpha1, kind: KubeServiceAccountConfig, accepted: {publicKeys: [<the text of sa-new.pub>]}",
        "talosctl -n NODE patch machineconfig -p @patch.yaml",
    ),
    Phase.SWITCH: (
        "# patch.yaml: issuer: {privateKey: <the key that stays>}, accepted: {publicKeys: [<the public half of the other>]}",
        "talosctl -n NODE patch machineconfig -p @patch.yaml",
    ),
    Phase.RETIRE: (
        "# patch.yaml: accepted: {publicKeys: []}; keep the new key in your own secrets bundle too",
        "talosctl -n NODE patch machineconfig -p @patch.yaml",
    ),
}
_BY_DISTRIBUTION: Final[Mapping[str, Mapping[Phase, tuple[str, ...]]]] = {
    "kubeadm": _KUBEADM,
    "kind": _KUBEADM,
    "k3s": _K3S,
    "rke2": _K3S,
    "talos": _TALOS,
}


def instruction(phase: Phase, distribution: str | None) -> Instruction:
    """Return what a person does in a step of the control plane.

    Args:
        phase: `ANNOUNCE`, `SWITCH` or `RETIRE`.
        distribution: As `clusters` names it; None, or one without an entry here: the flags themselves.
    """
    lines = _BY_DISTRIBUTION.get(distribution or "", _FLAGS)[phase]
    return Instruction(f"{_PURPOSE[phase]} {ONE_BY_ONE}", lines)
