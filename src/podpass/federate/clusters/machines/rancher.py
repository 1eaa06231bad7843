# SPDX-License-Identifier: Apache-2.0
"""Servers of k3s and RKE2: one file beside the operator's configuration on each, and a restart of the service.

The configuration holds the cluster's token: it is read, and neither written nor shown. What is written is a file without any secret.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from podpass.errors import UnexpectedAnswerError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.forms.lists import RANCHER_KEY
from podpass.federate.clusters.machines.rancher_files import OURS, Files, with_flags
from podpass.federate.clusters.machines.script import file_of
from podpass.federate.clusters.machines.shell import Shell, own_address
from podpass.federate.clusters.machines.static_pod import difference
from podpass.federate.clusters.roll import Changed

Program = Literal["k3s", "rke2"]
_SERVICES: Final[Mapping[Program, str]] = {"k3s": "k3s", "rke2": "rke2-server"}
_PORT: Final = "6443"
_STATE: Final = """\
state() {{
  for file in {folder}/config.yaml {folder}/config.yaml.d/*; do
    if [ -f "$file" ]; then sha256sum "$file"; fi
  done | sha256sum | cut -c1-64
}}"""
# Arguments of the unit take the place of every file's, and another place of the files would leave ours unread.
_READ: Final = """\
systemctl cat {service} >/dev/null 2>&1 || refuse no-service
unit="$(systemctl show --property=ExecStart {service}) $(systemctl show --property=Environment {service})"
case "$unit" in *{key}*) refuse arguments;; *' --config'* | *' -c '* | *{variable}=*) refuse elsewhere;; esac
for file in $(systemctl show --property=EnvironmentFiles --value {service} | sed 's/ (ignore_errors=[a-z]*)//'); do
  if [ -f "$file" ] && grep -q '^{variable}=' "$file"; then refuse elsewhere; fi
done
state > "$folder/state"; give state "$folder/state"
for file in {folder}/config.yaml {folder}/config.yaml.d/*; do
  case "$file" in *.yaml | *.yml | *.YAML | *.YML) if [ -f "$file" ]; then
    printf %s "${{file#{folder}/}}" > "$folder/name"
    count=$((count + 1)); give "name$count" "$folder/name"; give "file$count" "$file"
  fi;; esac
done
if [ -f {folder}/podpass/restart ]; then give restart {folder}/podpass/restart; fi"""
_WRITE: Final = """\
[ "$(state)" = {read} ] || refuse changed
mkdir -p -m 700 {folder}/podpass
mkdir -p {folder}/config.yaml.d
if [ -f {ours} ]; then cp -p {ours} {backup}; fi
{stage}
: > {folder}/podpass/restart
{put}
systemctl restart --no-block {service}
rm -f {folder}/podpass/restart"""


@dataclass(frozen=True, slots=True)
class _State:
    """The files of a server, their digest as the server computes it, and whether a restart is due."""

    files: Files
    digest: str
    is_due: bool


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is to be written, and what it was made from."""

    state: _State
    content: str


class RancherMachines:
    """Reads and changes servers of k3s or RKE2, one at a time.

    Args:
        shell: How they are reached.
        program: Which of the two.
    """

    def __init__(self, shell: Shell, program: Program) -> None:
        self._shell = shell
        self._program: Program = program
        self._folder = f"/etc/rancher/{program}"
        self._drafts: dict[tuple[str, ServiceAccountFlags], _Draft] = {}
        self._servers: dict[str, str] = {}

    def flags(self, node: Node) -> ServiceAccountFlags:
        """Return what the files come to: what the server is told when it starts next."""
        return self._read(node).files.flags(node.name)

    def preview(self, node: Node, flags: ServiceAccountFlags) -> str:
        """Return what a change would write; `change` then writes that, or refuses."""
        draft = self._draft(node, flags)
        self._drafts[node.name, flags] = draft
        return difference(draft.state.files.ours, draft.content, f"{self._folder}/{OURS}")

    def unfinished(self, node: Node) -> bool:
        """Whether an earlier run has written the file and was stopped before the restart."""
        return self._read(node).is_due

    def change(self, node: Node, flags: ServiceAccountFlags) -> Changed:
        """Put the file in place and restart the service; it is noted beside that a restart is due until it has been asked for."""
        draft = self._drafts.pop((node.name, flags), None) or self._draft(node, flags)
        ours = f"{self._folder}/{OURS}"
        backup = f"{self._folder}/podpass/90-podpass.yaml.{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        new = f"{self._folder}/podpass/new"
        stage = f"{file_of(draft.content, new)}\nsync" if draft.content else ""
        put = f"mv -f {new} {ours}" if draft.content else f"rm -f {ours}"
        service = _SERVICES[self._program]
        write = _WRITE.format(read=draft.state.digest, folder=self._folder, ours=ours, backup=backup, stage=stage, put=put, service=service)
        self._shell.run(node, _STATE.format(folder=self._folder), write, refusals=self._refusals)
        former = f"cp {backup} {ours}" if draft.state.files.ours else f"rm {ours}"
        # RKE2 starts kube-apiserver anew only if it is told something else.
        return Changed(restarts=draft.content != draft.state.files.ours, undo=f"{former} && systemctl restart {service}")

    def server_of(self, node: Node) -> str:
        """Return the address of a node's own API server."""
        if node.name not in self._servers:
            self._read(node)
        return self._servers[node.name]

    def _draft(self, node: Node, flags: ServiceAccountFlags) -> _Draft:
        state = self._read(node)
        return _Draft(state, with_flags(state.files, flags, node.name))

    def _read(self, node: Node) -> _State:
        read = _READ.format(
            service=_SERVICES[self._program], key=RANCHER_KEY, variable=f"{self._program.upper()}_CONFIG_FILE", folder=self._folder
        )
        scratch = "folder=$(mktemp -d)\ntrap 'rm -rf \"$folder\"' EXIT\ncount=0"
        given = self._shell.run(node, scratch, _STATE.format(folder=self._folder), read, refusals=self._refusals).files
        numbers = [name.removeprefix("name") for name in given if name.startswith("name")]
        contents = {_text(given[f"name{one}"], node): _text(given[f"file{one}"], node) for one in numbers}
        state = _State(Files(self._program, contents), _digest(given["state"], node), "restart" in given)
        self._servers[node.name] = _server(state.files, node, self._program)
        return state

    @property
    def _refusals(self) -> Mapping[str, tuple[str, str]]:
        title, service = {"k3s": "k3s", "rke2": "RKE2"}[self._program], _SERVICES[self._program]
        return {
            "no-service": (f"systemd there has no service {service}.", f"Is it a server of {title}?"),
            "arguments": (
                f"The unit {service} gives {RANCHER_KEY} on its command line, which takes the place of every file's.",
                f"Move these arguments to {self._folder}/config.yaml first.",
            ),
            "elsewhere": (f"The unit {service} reads its configuration elsewhere.", f"podpass knows {self._folder}/config.yaml only."),
        }


def _server(files: Files, node: Node, program: Program) -> str:
    port = files.value("https-listen-port", node.name) if program == "k3s" else ""
    host = own_address(node)
    return f"https://{f'[{host}]' if ':' in host else host}:{port if port.isdecimal() else _PORT}"


def _digest(content: bytes, node: Node) -> str:
    found = content.decode("ascii", "replace").strip()
    if len(found) != hashlib.sha256().digest_size * 2 or not found.isalnum():
        raise UnexpectedAnswerError(
            f"{node.name} has no digest of its configuration.", "Its sha256sum gave none.", "Install coreutils or busybox there."
        )
    return found


def _text(content: bytes, node: Node) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise UnexpectedAnswerError(f"A file of the configuration of {node.name} is no text.", "It is not UTF-8.", "Correct it.") from None
