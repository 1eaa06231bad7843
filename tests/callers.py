# SPDX-License-Identifier: Apache-2.0
"""Callers: identities as a guard sees them, made of real tokens by the real verifier."""

from typing import Any

from podpass.names import Audience, Issuer
from podpass.policy import InvokerPolicy, Refusal, Request, Verdict
from podpass.policy.rules import InGroups
from podpass.verify import KeySet, VerificationKey, Verifier
from podpass.verify.identity import Identity, IssuerKind
from token_forge import AUDIENCE, ISSUER, NOW, NOW_S, Signer, ec_signer, kubernetes_claims

GOOGLE = "https://accounts.google.com"
EMAIL = "gke-gsa@demo-project.iam.gserviceaccount.com"


def google_claims(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Return the claims of an ID token as Google's metadata server issues it; a claim changed to None is left out."""
    claims = {
        "aud": AUDIENCE,
        "azp": "112233445566778899000",
        "email": EMAIL,
        "email_verified": True,
        "exp": NOW_S + 3600,
        "iat": NOW_S,
        "iss": GOOGLE,
        "sub": "112233445566778899000",
    }
    claims.update(changed)
    return {name: value for name, value in claims.items() if value is not None}


def keys_of(*signers: Signer) -> KeySet:
    """Return the public halves."""
    return KeySet.of(VerificationKey.of(signer.key.public_key(), signer.kid) for signer in signers)


def identity_of(claims: dict[str, Any], *, name: str = "cluster", kind: IssuerKind = "kubernetes") -> Identity:
    """Sign claims, verify them, and read the caller."""
    signer = ec_signer()
    verifier = Verifier(issuer=Issuer(claims["iss"]), audiences=[Audience(AUDIENCE)], keys=keys_of(signer))
    return Identity.of(verifier.verify(signer.token(claims), now=NOW), issuer_name=name, kind=kind)


def workload(
    namespace: str = "shop",
    name: str = "checkout",
    *,
    issuer: str = "cluster",
    bound: dict[str, Any] | None = None,
    **changed: Any,  # noqa: ANN401 - any JSON
) -> Identity:
    """Return a service account of a cluster; `bound` is what its token says about pod and node."""
    bound = bound or {"namespace": namespace, "serviceaccount": {"name": name, "uid": "u-1"}, "pod": {"name": f"{name}-6f7c", "uid": "u-2"}}
    claims = {"sub": f"system:serviceaccount:{namespace}:{name}", "kubernetes.io": bound, "iss": ISSUER, **changed}
    return identity_of(kubernetes_claims(**claims), name=issuer)


def google_account(**changed: Any) -> Identity:  # noqa: ANN401 - any JSON
    """Return a Google account."""
    return identity_of(google_claims(**changed), name="google", kind="google")


def verdict_of(policy: InvokerPolicy, request: Request, identity: Identity | None, in_groups: InGroups | None = None) -> Verdict:
    """Say whether a policy's rules admit a caller; None is a caller without a token."""
    rule = policy.rule_for(request)
    return Verdict(None, rule) if isinstance(rule, Refusal) else Verdict(rule, rule.refusal_of(identity, in_groups))
