# SPDX-License-Identifier: Apache-2.0
"""What the sandbox asks of a cluster: an address, ways in, and a restart with other issuers or keys.

Two things keep this promise: the built-in API server (`sandbox.kubernetes`) and a real control plane (`sandbox.control_plane`).
Whoever holds one speaks to it over the Kubernetes HTTP API with one of its kubeconfigs and needs to know no more.
"""

from typing import Any, Protocol

import msgspec

from podpass.sandbox.settings import KeyType

Kubeconfig = dict[str, Any]
"""A kubeconfig as data: one cluster, one user, one context which is the current one; certificates and keys inline."""


class IssuerChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How the API server's flags for service-account tokens change at a restart.

    Args:
        issuer: The `iss` of tokens from now on; None keeps the present one.
        accepted_issuers: Further issuers whose tokens stay valid (more `--service-account-issuer` flags). None keeps those accepted
            so far, the present issuer among them; an empty tuple accepts the issuer alone.
        new_key: Kind of a new signing key; None keeps the present key.
        keep_old_keys: Whether the keys so far stay accepted and published (more `--service-account-key-file` flags).
        announce_key: Kind of a new key that is accepted and published but does not sign yet, so that everybody can learn it before the
            first token needs it. Not together with `new_key`.
        sign_with_announced: Sign with the key that an earlier change announced.
    """

    issuer: str | None = None
    accepted_issuers: tuple[str, ...] | None = None
    new_key: KeyType | None = None
    keep_old_keys: bool = True
    announce_key: KeyType | None = None
    sign_with_announced: bool = False

    def issuers_after(self, before: tuple[str, ...]) -> tuple[str, ...]:
        """Return the issuers once the change is made, the signing one first, each named once."""
        others = before if self.accepted_issuers is None else self.accepted_issuers
        return tuple(dict.fromkeys((self.issuer or before[0], *others)))


class Cluster(Protocol):
    """A Kubernetes API server with its controllers, on loopback, owned by the sandbox."""

    @property
    def url(self) -> str:
        """The API server's address, `https://127.0.0.1:PORT`; known once it has started."""
        ...

    @property
    def ca_pem(self) -> bytes:
        """The certificate that signs the API server's own."""
        ...

    @property
    def issuers(self) -> list[str]:
        """The accepted issuers; the first one signs."""
        ...

    async def start(self) -> None:
        """Come up; return when the API answers and the namespace `default` is there."""
        ...

    async def stop(self) -> None:
        """Go down, releasing the port; state in a directory stays."""
        ...

    async def restart(self, change: IssuerChange) -> None:
        """Go down and come up on the same address with other issuers or keys; watchers and open connections break, as in life."""
        ...

    def admin_kubeconfig(self) -> Kubeconfig:
        """Return the way in of a cluster administrator."""
        ...

    def node_kubeconfig(self) -> Kubeconfig:
        """Return the way in of the node agent."""
        ...

    def controller_kubeconfig(self) -> Kubeconfig:
        """Return the way in of the job controller."""
        ...

    async def dump(self) -> dict[str, Any]:
        """Return the objects in the cluster as stable JSON: no volatile values, so that two dumps can be compared."""
        ...
