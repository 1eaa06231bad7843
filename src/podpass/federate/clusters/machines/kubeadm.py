# SPDX-License-Identifier: Apache-2.0
"""Machines that kubeadm made, kind's among them: the static pod of kube-apiserver on each node, and what upgrades start from.

kubeadm itself renders the static pod on the node, and what it renders has to say what is meant: so its next upgrade keeps it. What is
written is the node's own file with our two flags set, since it may hold what somebody wrote into it by hand and kubeadm does not know. It
is moved into place whole, and what was there stays in a folder beside: kubelet would run a copy among the manifests.
"""

import hashlib
import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import yaml

from podpass.errors import UnexpectedAnswerError, UnsafePlanError
from podpass.federate.clusters.evidence import Node, address_of
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, ServiceAccountFlags
from podpass.federate.clusters.forms.kubeadm import settings_of
from podpass.federate.clusters.machines import static_pod
from podpass.federate.clusters.machines.script import file_of
from podpass.federate.clusters.machines.shell import Shell, own_address
from podpass.federate.clusters.roll import Changed
from podpass.federate.clusters.sheets.kubeadm import FOLDER, PATCH, configuration, pod_patch
from podpass.kube.client import KubeClient, connect
from podpass.kube.config_maps import ConfigMap, get_config_map, replace_config_map
from podpass.kube.kubeconfig import ClusterAccess
from podpass.names.secret import redact

_PATCH: Final = f"{FOLDER}/patches/{PATCH}"
_CRI_SOCKET: Final = "kubeadm.alpha.kubernetes.io/cri-socket"
_PORT: Final = "6443"
_REFUSALS: Final[Mapping[str, tuple[str, str]]] = {
    "no-manifest": (f"It has no {static_pod.PATH}.", "Is it one of the control plane, and made with kubeadm?"),
    "no-kubeadm": ("It has no kubeadm.", "Install the one of the cluster's version there."),
}
_READ: Final = f"""\
[ -f {static_pod.PATH} ] || refuse no-manifest
give manifest {static_pod.PATH}
if [ -f '{_PATCH}' ]; then give patch '{_PATCH}'; fi"""


@dataclass(frozen=True, slots=True)
class _State:
    """What a node has: the static pod, and the patch that stands by for upgrades."""

    manifest: str
    patch: str


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is to be written, and what it was made from."""

    state: _State
    manifest: str
    patch: str
    drift: tuple[str, ...]


class KubeadmMachines:
    """Reads and changes machines of kubeadm's, one at a time.

    Args:
        shell: How they are reached.
        current: The ClusterConfiguration that the cluster keeps.
    """

    def __init__(self, shell: Shell, current: str) -> None:
        self._shell = shell
        self._current = current
        self._drafts: dict[tuple[str, ServiceAccountFlags], _Draft] = {}
        self._servers: dict[str, str] = {}

    def flags(self, node: Node) -> ServiceAccountFlags:
        """Return what the static pod tells kube-apiserver."""
        return static_pod.flags_of(self._read(node).manifest, _where(node))

    def preview(self, node: Node, flags: ServiceAccountFlags) -> str:
        """Return what a change would write; `change` then writes that, or refuses."""
        draft = self._draft(node, flags)
        self._drafts[node.name, flags] = draft
        text = static_pod.difference(draft.state.manifest, draft.manifest, static_pod.PATH)
        text += static_pod.difference(draft.state.patch, draft.patch, _PATCH)
        if draft.drift:
            text += f"# kubeadm does not know these words, and its next upgrade takes them away: {' '.join(draft.drift)}\n"
        return text

    def unfinished(self, node: Node) -> bool:
        """Whether the static pod is there, and what upgrades start from is not."""
        state = self._read(node)
        return state.patch != _patch(static_pod.flags_of(state.manifest, _where(node)))

    def change(self, node: Node, flags: ServiceAccountFlags) -> Changed:
        """Put the static pod in place; kubelet starts it. Nothing is put in place of a file that is not the one that was read."""
        draft = self._drafts.pop((node.name, flags), None) or self._draft(node, flags)
        backup = f"{FOLDER}/kube-apiserver.yaml.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        restarts = draft.manifest != draft.state.manifest
        self._shell.run(node, *_write(draft, backup, restarts=restarts), refusals=_REFUSALS)
        return Changed(restarts=restarts, undo=f"cp {backup} {static_pod.PATH}" if restarts else "")

    def server_of(self, node: Node) -> str:
        """Return the address of a node's own API server."""
        if node.name not in self._servers:
            self._read(node)
        return self._servers[node.name]

    def _read(self, node: Node) -> _State:
        files = self._shell.run(node, _READ, refusals=_REFUSALS).files
        state = _State(_text(files["manifest"], node), _text(files.get("patch", b""), node))
        host, port = _endpoint(state.manifest, node)
        self._servers[node.name] = f"https://{f'[{host}]' if ':' in host else host}:{port}"
        return state

    def _draft(self, node: Node, flags: ServiceAccountFlags) -> _Draft:
        state = self._read(node)
        manifest = static_pod.with_flags(state.manifest, flags, _where(node))
        files = self._shell.run(node, *_render(self._current, flags, node, state.manifest), refusals=_REFUSALS).files
        rendered = _text(files["rendered"], node)
        found = static_pod.flags_of(rendered, f"What kubeadm renders on {node.name}")
        if (found.issuers, set(found.accepted_audiences)) != (flags.issuers, set(flags.accepted_audiences)):
            raise UnsafePlanError(
                f"Nothing was changed on {node.name}: kubeadm there would tell kube-apiserver otherwise.",
                f"It renders the issuers {', '.join(found.issuers)} and the audiences {', '.join(found.accepted_audiences)}; "
                f"{', '.join(flags.issuers)} and {', '.join(flags.accepted_audiences)} are wanted.",
                "Its next upgrade would undo the move. Look at kube-system/kubeadm-config.",
            )
        return _Draft(state, manifest, _patch(flags), static_pod.drift(state.manifest, rendered, _where(node)))


class KeptConfiguration:
    """The ClusterConfiguration in the cluster, from which `kubeadm upgrade` starts.

    Args:
        access: How the cluster is reached.
    """

    note = f"kube-system/kubeadm-config gets the same. Give `kubeadm upgrade` --patches {FOLDER}/patches from then on."

    def __init__(self, access: ClusterAccess) -> None:
        self._access = access

    def holds(self, flags: ServiceAccountFlags) -> bool:
        """Whether it has the issuer that signs, and the audiences."""
        with connect(self._access) as cluster:
            return _holds(_configuration(_kept(cluster)), flags)

    def hold(self, flags: ServiceAccountFlags) -> None:
        """Write them, in place of the version that was read; every other setting stays.

        Raises:
            KubeRefusedError: Somebody else has changed it meanwhile, or podpass may not.
        """
        with connect(self._access) as cluster:
            kept = _kept(cluster)
            current = _configuration(kept)
            if not _holds(current, flags):
                replace_config_map(cluster, kept.with_data({**kept.data, "ClusterConfiguration": configuration(current, flags)}))


def _kept(cluster: KubeClient) -> ConfigMap:
    found = get_config_map(cluster, "kube-system", "kubeadm-config")
    if found is None:
        raise UnexpectedAnswerError(
            "The cluster does not keep kube-system/kubeadm-config any more.",
            "It was there when the command began; `kubeadm upgrade` needs it too.",
            "Write it back with `kubeadm init phase upload-config kubeadm --config FILE`, then run the command again.",
        )
    return found


def _configuration(kept: ConfigMap) -> str:
    """Return what kubeadm keeps.

    Raises:
        UnexpectedAnswerError: It is no ClusterConfiguration.
    """
    current = kept.data.get("ClusterConfiguration", "")
    try:
        if isinstance(yaml.safe_load(current), dict):
            return current
    except yaml.YAMLError:
        pass
    raise UnexpectedAnswerError(f"{kept} holds no ClusterConfiguration.", "", "Correct it: `kubeadm upgrade` needs it too.")


def _holds(current: str, flags: ServiceAccountFlags) -> bool:
    given = dict(settings_of(yaml.safe_load(current)))
    audiences = {one.strip() for one in given.get(API_AUDIENCES, "").split(",")}
    return given.get(ISSUER) == flags.issuers[0] and audiences == set(flags.accepted_audiences)


def _patch(flags: ServiceAccountFlags) -> str:
    return pod_patch(flags) if len(flags.issuers) > 1 else ""


def _render(current: str, flags: ServiceAccountFlags, node: Node, manifest: str) -> tuple[str, ...]:
    """Return lines that have kubeadm render the static pod in a folder that is gone afterwards."""
    cluster = configuration(current, flags)
    host, port = _endpoint(manifest, node)
    init: dict[str, Any] = {
        "apiVersion": yaml.safe_load(current)["apiVersion"],
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": host, "bindPort": int(port)},
        "patches": {"directory": "FOLDER/patches"},
    }
    if socket := node.annotations.get(_CRI_SOCKET):
        init["nodeRegistration"] = {"criSocket": socket}
    patch = _patch(flags)
    return (
        "command -v kubeadm >/dev/null || refuse no-kubeadm",
        'folder=$(mktemp -d)\ntrap \'rm -rf "$folder"\' EXIT\nmkdir "$folder/patches" "$folder/out"',
        file_of(json.dumps(init), "$folder/init.json"),
        file_of(cluster, "$folder/cluster.yaml"),
        file_of(patch, f"$folder/patches/{PATCH}") if patch else "",
        # The folder's name is known on the node only.
        'sed "s|FOLDER/patches|$folder/patches|" "$folder/init.json" > "$folder/kubeadm.yaml"',
        '{ echo; echo ---; cat "$folder/cluster.yaml"; } >> "$folder/kubeadm.yaml"',
        'KUBEADM_INIT_DRYRUN_DIR="$folder/out" kubeadm init phase control-plane apiserver --config "$folder/kubeadm.yaml" --dry-run >&2',
        # An older kubeadm makes folders of its own in there.
        'give rendered "$(find "$folder/out" -name kube-apiserver.yaml | head -n 1)"',
    )


def _write(draft: _Draft, backup: str, *, restarts: bool) -> tuple[str, ...]:
    read = hashlib.sha256(draft.state.manifest.encode()).hexdigest()
    new = f"{FOLDER}/kube-apiserver.yaml.new"
    keep_patch = (
        f"{file_of(draft.patch, f'{FOLDER}/patch.new')}\nmv -f {FOLDER}/patch.new '{_PATCH}'" if draft.patch else f"rm -f '{_PATCH}'"
    )
    lines = [
        f'[ "$(digest {static_pod.PATH})" = {read} ] || refuse changed',
        f"mkdir -p -m 700 {FOLDER} {FOLDER}/patches",
        keep_patch,
    ]
    if restarts:
        # A copy first, so that owner and mode are those of the file that was there.
        lines += [
            f"cp -p {static_pod.PATH} {shlex.quote(backup)}",
            f"cp -p {static_pod.PATH} {new}",
            file_of(draft.manifest, new),
            f"sync\nmv -f {new} {static_pod.PATH}",
        ]
    return tuple(lines)


def _endpoint(manifest: str, node: Node) -> tuple[str, str]:
    """Return address and port of a node's API server, as its static pod has them."""
    told = static_pod.setting_of(manifest, _where(node), "advertise-address")
    port = static_pod.setting_of(manifest, _where(node), "secure-port")
    host = address_of(told) or own_address(node)
    return host, port if port.isdecimal() else _PORT


def _where(node: Node) -> str:
    return f"{static_pod.PATH} of {node.name}"


def _text(content: bytes, node: Node) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UnexpectedAnswerError(
            f"{_where(node)} is no text.", redact(repr(content[:40])), "Put a copy of before in its place."
        ) from None
