# SPDX-License-Identifier: Apache-2.0
"""How a control plane is driven, by its distribution: its machines, the way to each API server, and what has to remember the change."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, get_args

from podpass.config.federation import ClusterSettings, Distribution
from podpass.errors import ConfigError, UnexpectedAnswerError
from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.machines.kubeadm import KeptConfiguration, KubeadmMachines
from podpass.federate.clusters.machines.rancher import RancherMachines
from podpass.federate.clusters.machines.shell import CommandShell, call, command_for
from podpass.federate.clusters.roll import Machines
from podpass.federate.clusters.sheets.kubeadm import kept_configuration
from podpass.federate.clusters.talosctl import Talosctl
from podpass.kube.kubeconfig import ClusterAccess
from podpass.names.secret import redact

Runtime = Literal["docker", "podman", "nerdctl"]
"""What runs kind's nodes."""
_DRIVEN: Final = frozenset({"talos", "kubeadm", "kind", "k3s", "rke2"})
_API_PORT: Final = "6443/tcp"


class Keeper(Protocol):
    """What the distribution itself starts from when it makes or upgrades a server."""

    @property
    def note(self) -> str:
        """What it is, and what the operator has to do for it."""

    def holds(self, flags: ServiceAccountFlags) -> bool:
        """Whether it has what the servers are told."""

    def hold(self, flags: ServiceAccountFlags) -> None:
        """Have it so."""


@dataclass(frozen=True, slots=True)
class Drive:
    """A control plane that can be changed.

    Attributes:
        machines: Its machines.
        server_of: The address of a node's own API server; None: the node's address, with the kubeconfig's port.
        keeper: What has to remember the change; None: the machines alone.
    """

    machines: Machines
    server_of: Callable[[Node], str] | None = None
    keeper: Keeper | None = None


def drive(distribution: Distribution, settings: ClusterSettings, evidence: Evidence, access: ClusterAccess, nodes: Sequence[Node]) -> Drive:
    """Choose.

    Raises:
        ConfigError: podpass reaches no machines of this distribution, or the file does not say how.
    """
    alone = (lambda _: access.server) if len(nodes) == 1 else None
    if distribution == "talos":
        return Drive(Talosctl(settings.talos.talosconfig if settings.talos else None))
    if distribution in {"kubeadm", "kind"}:
        runtime = _runtime(nodes) if distribution == "kind" and settings.nodes is None else None
        shell = CommandShell((runtime, "exec", "--interactive", "{node}", "sh") if runtime else _command(settings, distribution))
        machines = KubeadmMachines(shell, kept_configuration(evidence))
        ported = _published(runtime) if runtime else machines.server_of
        return Drive(machines, alone or ported, KeptConfiguration(access))
    if distribution == "k3s" or distribution == "rke2":  # noqa: PLR1714 - so the type is known
        servers = RancherMachines(CommandShell(_command(settings, distribution)), distribution)
        return Drive(servers, alone or servers.server_of)
    raise _unreachable(distribution)


def check_driven(distribution: Distribution) -> None:
    """Refuse a distribution whose machines podpass does not reach.

    Raises:
        ConfigError: It is one.
    """
    if distribution not in _DRIVEN:
        raise _unreachable(distribution)


def _unreachable(distribution: Distribution) -> ConfigError:
    return ConfigError(
        f"podpass reaches no machines of this cluster ({distribution}).",
        "It drives Talos, kubeadm, kind, k3s and RKE2.",
        "Have the steps written: `podpass export --format control-plane`.",
        code="config.distribution",
    )


def _command(settings: ClusterSettings, distribution: Distribution) -> tuple[str, ...]:
    if settings.nodes is None:
        raise ConfigError(
            f"The file does not say how the machines of this cluster ({distribution}) are reached.",
            "podpass opens a shell as root only where it is told to.",
            'Write it into spec.cluster: nodes: {command: [ssh, "{node}", sudo, -n, sh]}.',
            code="config.nodes",
        )
    return settings.nodes.command


def _runtime(nodes: Sequence[Node]) -> Runtime:
    """Return what runs kind's nodes, as their provider ids say; of a few words only, since it becomes a command."""
    named = {node.provider_id.removeprefix("kind://").partition("/")[0] for node in nodes}
    for runtime in get_args(Runtime):
        if named == {runtime}:
            return runtime  # type: ignore[no-any-return]  # one of its words
    raise ConfigError(
        f"What runs kind's nodes is not known: {', '.join(sorted(named))!r}.",
        f"podpass knows {', '.join(get_args(Runtime))}.",
        'Write it into spec.cluster: nodes: {command: [docker, exec, -i, "{node}", sh]}.',
        code="config.nodes",
    )


def _published(runtime: Runtime) -> Callable[[Node], str]:
    """Return how to find where this machine has the API server of a node of kind's: kind publishes the port of each."""
    found: dict[str, str] = {}

    def server_of(node: Node) -> str:
        if node.name not in found:
            words = command_for(node, (runtime, "port", "{node}", _API_PORT))
            done = call(words, b"", f"`{' '.join(words)}`")
            lines = done.stdout.decode("utf-8", "replace").split()
            if done.returncode or not lines:
                raise UnexpectedAnswerError(
                    f"{runtime} publishes no port of {node.name}'s API server.",
                    redact(done.stderr.decode("utf-8", "replace").strip()) or "It printed none.",
                    f"Look at `{' '.join(words)}`.",
                )
            found[node.name] = f"https://{lines[0]}"
        return found[node.name]

    return server_of
