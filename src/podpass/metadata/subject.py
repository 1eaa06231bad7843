# SPDX-License-Identifier: Apache-2.0
"""What a pod's own subject token says of the pod. It is not verified: it is the pod's own file, and Google verifies it at each exchange."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Self

from podpass.errors import ConfigError
from podpass.names import Secret, ServiceAccountRef
from podpass.verify.compact import parse


@dataclass(frozen=True, slots=True)
class Subject:
    """The pod behind a subject token.

    Attributes:
        account: Its service account.
        audiences: Whom the token is for.
        machine_name: The node's; the pod's or the account's where an older cluster leaves it out.
        machine_number: A number for it that stays the same: 63 bits.
    """

    account: ServiceAccountRef
    audiences: tuple[str, ...]
    machine_name: str
    machine_number: int

    @classmethod
    def read(cls, token: Secret[str]) -> Self:
        """Read the claims that Kubernetes writes.

        Raises:
            ConfigError: It is no token of a Kubernetes service account.
            MalformedTokenError: It is no token.
        """
        claims = parse(token.reveal()).payload.members
        sub, audience = claims.get("sub"), claims.get("aud")
        if not isinstance(sub, str) or not sub.startswith("system:serviceaccount:"):
            raise ConfigError(
                "The subject token is not of a Kubernetes service account.",
                "",
                "Mount a projected serviceAccountToken and name its path.",
                code="config.subject-token",
            )
        account = ServiceAccountRef.parse(sub)
        name, uid = _machine(claims.get("kubernetes.io"), account.name)
        number = int.from_bytes(blake2b(uid.encode(), digest_size=8).digest()) >> 1
        audiences = audience if isinstance(audience, list) else [audience]
        return cls(account, tuple(str(each) for each in audiences), name, number)


def _machine(claim: object, otherwise: str) -> tuple[str, str]:
    """Return name and uid of the best that the claim names. Kubernetes names the node since 1.30."""
    for kind in ("node", "pod"):
        thing = claim.get(kind) if isinstance(claim, dict) else None
        if isinstance(thing, dict) and isinstance(name := thing.get("name"), str) and isinstance(uid := thing.get("uid"), str):
            return name, uid
    return otherwise, otherwise
