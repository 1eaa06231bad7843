# SPDX-License-Identifier: Apache-2.0
"""Audience confusion: a token that an API server accepts as well must never be a service's credential.

Whoever receives such a token can act at the API server in its name. So a service refuses it, whatever else it names (invariant 7).
"""

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from podpass.errors import WrongAudienceError
from podpass.names.quoting import quoted

if TYPE_CHECKING:  # as in `identity`
    from podpass.verify.verifier import VerifiedToken

_API_SERVER: Final = "https://kubernetes.default.svc"
# The defaults of --api-audiences that are no URL: k3s and RKE2 add their name, k0s the one of its tunnel.
_DISTRIBUTIONS: Final = frozenset({"k3s", "rke2", "system:konnectivity-server"})


def api_server_of(audience: str, *, issuer: str, api_audiences: Collection[str] = ()) -> str | None:
    """Say why an audience is an API server's, as half a sentence, or None.

    Source:
        kube-apiserver: without --api-audiences the audience of the API server is the issuer itself. kubeadm, k3s, RKE2 and k0s:
        `https://kubernetes.default.svc`, with or without the cluster's domain.
    """
    if audience == issuer:
        return "the issuer itself, the default audience of its API server"
    if audience == _API_SERVER or audience.startswith((f"{_API_SERVER}.", f"{_API_SERVER}:", f"{_API_SERVER}/")):
        return "the address of an API server"
    if audience in _DISTRIBUTIONS:
        return "an API server's by the distribution's defaults"
    return "declared as an audience of the API server" if audience in api_audiences else None


def check_service_audience(token: "VerifiedToken", *, api_audiences: Collection[str] = (), several: bool = False) -> None:
    """Refuse a token that is good elsewhere too.

    Args:
        token: Verified; it names one of the service's audiences.
        api_audiences: What the issuer's API server is called besides its defaults.
        several: Accept other audiences beside the service's own, as long as none is an API server's.

    Raises:
        WrongAudienceError: It also names an API server, or more than one audience.
    """
    audiences = token.audiences
    for audience in audiences:
        if why := api_server_of(audience, issuer=token.issuer, api_audiences=api_audiences):
            raise WrongAudienceError(
                f"The token is also meant for {quoted(audience)}.",
                f"That audience is {why}; whoever receives the token could act there in the caller's name.",
                f"Ask for a token with the single audience {token.audience!r}: a projected serviceAccountToken with `audience`.",
                code="token.api-audience",
            )
    if len(audiences) > 1 and not several:
        raise WrongAudienceError(
            f"The token is meant for {len(audiences)} audiences.",
            "Each of them could use it against the others.",
            f"Ask for a token with the single audience {token.audience!r}, or allow severalAudiences in the policy.",
            code="token.several-audiences",
        )
