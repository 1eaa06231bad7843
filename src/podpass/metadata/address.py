# SPDX-License-Identifier: Apache-2.0
"""Where the server listens: on the loopback of a network that is the pod's alone.

Little is imported here, so that a sidecar listens long before it can answer.
"""

import ipaddress
import logging
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

from podpass.errors import ConfigError

_log = logging.getLogger(__name__)

# Set by the pod's manifest from status.hostIP and status.podIP.
HOST_IP: Final = "PODPASS_HOST_IP"
POD_IP: Final = "PODPASS_POD_IP"
BACKLOG: Final = 256
_PORT_LIMIT = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `ADDRESS:PORT` or `[ADDRESS]:PORT`.

        Raises:
            ConfigError: It is none; a name is no address.
        """
        host, _, port = text.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        try:
            ipaddress.ip_address(host)
            number = int(port)
        except ValueError:
            number = -1
        if not 0 <= number <= _PORT_LIMIT:
            raise ConfigError(
                f"{text!r} is no address to listen on.", "", "Write ADDRESS:PORT, such as 127.0.0.1:8987.", code="config.listen"
            )
        return cls(host, number)

    @property
    def is_loopback(self) -> bool:
        """Whether only the pod itself reaches it."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def require_own_network(environ: Mapping[str, str] | None = None) -> None:
    """Refuse to serve on the loopback of a node: every process of the node could ask for the pod's tokens.

    A pod shares its node's network where `hostNetwork` is set, and then has the node's address.

    Raises:
        ConfigError: The pod shares the network of its node, or nobody has said whether it does.
    """
    environ = os.environ if environ is None else environ
    if not {"KUBERNETES_SERVICE_HOST", HOST_IP, POD_IP} & environ.keys():
        return  # no pod
    host, pod = (_address(environ.get(name, "")) for name in (HOST_IP, POD_IP))
    if not host or not pod:
        raise ConfigError(
            "This pod does not say whether it shares the network of its node.",
            f"{HOST_IP} or {POD_IP} is no address; in a pod with hostNetwork, every process of the node could ask for this pod's tokens.",
            f"Set {HOST_IP} from the field status.hostIP and {POD_IP} from status.podIP in the container's env.",
            code="config.host-network",
        )
    if host == pod:
        raise ConfigError(
            "This pod shares the network of its node (hostNetwork).",
            f"Its address is the node's ({host}), so every process of the node could ask for this pod's tokens.",
            "Deliver its credentials as a file: a projected serviceAccountToken and a credential configuration.",
            code="config.host-network",
        )


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Read an address; one address can be written in several ways."""
    with suppress(ValueError):
        return ipaddress.ip_address(text)
    return None


def bind(address: Address, *, insecure_any_address: bool = False) -> socket.socket:
    """Listen, so that clients that come before the server is ready are kept waiting instead of refused.

    Raises:
        ConfigError: The address is not a loopback one and nobody has allowed that, or it cannot be had.
    """
    if not address.is_loopback:
        if not insecure_any_address:
            raise ConfigError(
                f"The metadata server does not listen on {address}.",
                "Whoever reached it there could ask for this pod's tokens.",
                "Listen on 127.0.0.1 or [::1].",
                code="config.listen",
            )
        _log.warning("Whoever reaches %s can ask for this pod's tokens.", address)
    return listen(address)


def listen(address: Address) -> socket.socket:
    """Listen on any address.

    Raises:
        ConfigError: It cannot be had.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        listening = socket.create_server((address.host, address.port), family=family, backlog=BACKLOG)
    except OSError as error:
        cure = "Choose another port; clients learn it from GCE_METADATA_HOST."
        raise ConfigError(f"The metadata server cannot listen on {address}.", f"{error.strerror}.", cure, code="config.listen") from error
    # Connections inherit it on Linux. asyncio sets it on sockets that it has made itself only; without it an answer's body waits 40 ms
    # for the client to acknowledge the head.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
