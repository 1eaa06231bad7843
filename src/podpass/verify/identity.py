# SPDX-License-Identifier: Apache-2.0
"""Who is asking: a verified token, read as its kind of issuer writes them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from podpass.errors import ConfigError, MalformedTokenError
from podpass.names import ServiceAccountRef
from podpass.names.quoting import quoted

if TYPE_CHECKING:  # half of what a guard imports, and needed only when there is a token to judge
    from podpass.verify.verifier import VerifiedToken

IssuerKind = Literal["kubernetes", "google", "oidc"]

_SERVICE_ACCOUNT_SUBJECT = re.compile(r"system:serviceaccount:[^:]+:[^:]+")
_CLAIM = "kubernetes.io"


class ObjectRef(msgspec.Struct, frozen=True):
    """A Kubernetes object that a token is bound to."""

    name: str
    uid: str


class KubernetesIdentity(msgspec.Struct, frozen=True):
    """What a service account token says about the workload.

    Attributes:
        service_account: Namespace and name.
        service_account_uid: None where the token does not say.
        pod: The pod that the token is bound to; None for one that was asked for outside a pod.
        node: The node of that pod, where the API server writes it (Kubernetes 1.30 and later).
    """

    service_account: ServiceAccountRef
    service_account_uid: str | None = None
    pod: ObjectRef | None = None
    node: ObjectRef | None = None


class GoogleIdentity(msgspec.Struct, frozen=True):
    """What a Google ID token says about the account.

    Attributes:
        email: None where the token carries none: it was asked for in another format.
        email_verified: Only the JSON value true counts.
        hosted_domain: `hd`, the Workspace domain; service accounts have none.
    """

    email: str | None = None
    email_verified: bool = False
    hosted_domain: str | None = None


class Identity(msgspec.Struct, frozen=True):
    """A caller whose token holds.

    Attributes:
        issuer_name: What the policy calls the issuer.
        kind: How its tokens are read.
        subject: `sub`; unique within the issuer, meaningless without it.
        issued_at: None where the token does not say.
        expires_at: When the token ends.
        token: The token itself, verified; it holds the claims, not the credential.
        kubernetes: Present for service accounts of issuers of kind kubernetes.
        google: Present for issuers of kind google.
    """

    issuer_name: str
    kind: IssuerKind
    subject: str
    issued_at: datetime | None
    expires_at: datetime
    token: "VerifiedToken"
    kubernetes: KubernetesIdentity | None = None
    google: GoogleIdentity | None = None

    @classmethod
    def of(cls, token: "VerifiedToken", *, issuer_name: str, kind: IssuerKind) -> Self:
        """Read a verified token as one of an issuer of this kind.

        Raises:
            MalformedTokenError: A claim of that kind is not of the form that its issuer writes, or contradicts `sub`.
        """
        claims = token.claims
        issued_s = claims.get("iat")
        return cls(
            issuer_name=issuer_name,
            kind=kind,
            subject=token.subject,
            issued_at=None if issued_s is None else datetime.fromtimestamp(issued_s, UTC),
            expires_at=token.expires_at,
            token=token,
            kubernetes=_kubernetes(token.subject, claims.get(_CLAIM)) if kind == "kubernetes" else None,
            google=_google(claims) if kind == "google" else None,
        )

    @property
    def issuer(self) -> str:
        """The `iss` claim."""
        return self.token.issuer

    @property
    def audience(self) -> str:
        """The audience by which the token was accepted."""
        return self.token.audience

    @property
    def claims(self) -> dict[str, Any]:
        """All claims, decoded anew for each caller, so that nobody can change what another one reads."""
        return self.token.claims

    def __str__(self) -> str:
        return f"{self.issuer_name}/{self.subject}"


def _kubernetes(subject: str, claim: object) -> KubernetesIdentity | None:
    """Read the service account from `sub`, and the rest from the claim that Kubernetes adds (KEP-1205, KEP-4193)."""
    if not _SERVICE_ACCOUNT_SUBJECT.fullmatch(subject):
        return None
    try:
        account = ServiceAccountRef.parse(subject)
    except ConfigError as error:
        raise _malformed("sub", error.what) from None
    if claim is None:
        return KubernetesIdentity(account)
    if not isinstance(claim, Mapping):
        raise _malformed(_CLAIM, "It is not an object.")
    bound = _object(claim, "serviceaccount")
    if claim.get("namespace") != account.namespace or (bound and bound.name != account.name):
        raise _malformed(_CLAIM, f"It names another service account than `sub`, {quoted(subject)}.")
    return KubernetesIdentity(account, bound.uid if bound else None, _object(claim, "pod"), _object(claim, "node"))


def _object(claim: Mapping[str, object], kind: str) -> ObjectRef | None:
    value = claim.get(kind)
    if value is None:
        return None
    name, uid = (value.get("name"), value.get("uid", "")) if isinstance(value, Mapping) else (None, "")
    if not isinstance(name, str) or not isinstance(uid, str):
        raise _malformed(_CLAIM, f"Its member {kind} is not an object with a name and a uid.")
    return ObjectRef(name, uid)


def _google(claims: Mapping[str, object]) -> GoogleIdentity:
    email, domain = claims.get("email"), claims.get("hd")
    if not isinstance(email, str | None) or not isinstance(domain, str | None):
        raise _malformed("email" if not isinstance(email, str | None) else "hd", "It is not a string.")
    return GoogleIdentity(email, claims.get("email_verified") is True, domain)


def _malformed(claim: str, why: str) -> MalformedTokenError:
    return MalformedTokenError(
        f"The token's `{claim}` claim is not of the form that its issuer writes.", why, "Use a token as the issuer made it."
    )
