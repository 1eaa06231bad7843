# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta
from typing import Any

import pytest

from callers import EMAIL, google_account, google_claims, identity_of, workload
from podpass.errors import MalformedTokenError
from podpass.names import ServiceAccountRef
from podpass.verify.identity import GoogleIdentity, KubernetesIdentity, ObjectRef
from token_forge import AUDIENCE, ISSUER, NOW, SUBJECT, kubernetes_claims

ACCOUNT = ServiceAccountRef("shop", "checkout")
WHOLE: dict[str, Any] = kubernetes_claims()["kubernetes.io"]


def test_a_projected_token_says_which_pod_on_which_node() -> None:
    identity = identity_of(kubernetes_claims())
    assert (identity.issuer, identity.issuer_name, identity.subject, identity.audience) == (ISSUER, "cluster", SUBJECT, AUDIENCE)
    assert (identity.issued_at, identity.expires_at) == (NOW, NOW + timedelta(hours=1))
    assert identity.kubernetes == KubernetesIdentity(
        ACCOUNT,
        "5a1b9f3d-52a4-4a62-a1cf-1f0f31c0b003",
        ObjectRef("checkout-6f7c", "9d0c1f65-1f2e-4a2c-93c3-35c6c5d0a002"),
        ObjectRef("node-1", "b1f3cf0e-6a62-4c3f-8ae4-6b1b4c9d3f01"),
    )
    assert identity.google is None
    assert str(identity) == f"cluster/{SUBJECT}"


def test_a_token_that_was_asked_for_outside_a_pod_names_none() -> None:
    bound = {"namespace": "shop", "serviceaccount": {"name": "checkout", "uid": "u"}}
    assert workload(bound=bound).kubernetes == KubernetesIdentity(ACCOUNT, "u")


def test_a_token_without_kubernetes_own_claim_is_its_subject_alone() -> None:
    assert identity_of(kubernetes_claims(**{"kubernetes.io": None})).kubernetes == KubernetesIdentity(ACCOUNT)
    assert workload(sub="ann").kubernetes is None


def test_the_claims_cannot_be_changed_for_others() -> None:
    identity = workload()
    identity.claims["sub"] = "somebody else"
    assert identity.claims["sub"] == SUBJECT


@pytest.mark.parametrize(
    "bound",
    [
        {**WHOLE, "namespace": "other"},
        {**WHOLE, "namespace": None},
        {**WHOLE, "serviceaccount": {"name": "other", "uid": "u"}},
        {**WHOLE, "serviceaccount": "checkout"},
        {**WHOLE, "pod": []},
        {**WHOLE, "pod": {"uid": "u"}},
        {**WHOLE, "pod": {"name": 1, "uid": "u"}},
        {**WHOLE, "node": {"name": "n", "uid": 1}},
        {"namespace": "other"},
    ],
)
def test_a_claim_that_contradicts_the_subject_or_has_no_form_is_refused(bound: dict[str, Any]) -> None:
    with pytest.raises(MalformedTokenError):
        workload(bound=bound)


@pytest.mark.parametrize("claim", ["shop", ["shop"], 1, True])
def test_kubernetes_own_claim_is_an_object(claim: object) -> None:
    with pytest.raises(MalformedTokenError, match="It is not an object"):
        identity_of(kubernetes_claims(**{"kubernetes.io": claim}))


def test_a_subject_that_kubernetes_would_not_write_is_refused() -> None:
    with pytest.raises(MalformedTokenError, match="is not a Kubernetes namespace"):
        identity_of(kubernetes_claims(sub="system:serviceaccount:Shop:checkout"))


def test_google_says_which_account() -> None:
    assert google_account(hd="example.com").google == GoogleIdentity(EMAIL, email_verified=True, hosted_domain="example.com")
    assert google_account(email=None, email_verified=None).google == GoogleIdentity()
    assert google_account().kubernetes is None


@pytest.mark.parametrize("verified", [False, None, "true", 1])
def test_only_true_is_a_verified_email(verified: object) -> None:
    google = google_account(email_verified=verified).google
    assert google is not None
    assert google.email_verified is False


@pytest.mark.parametrize("changed", [{"email": ["a@example.com"]}, {"hd": 1}])
def test_an_email_or_domain_that_is_no_text_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(MalformedTokenError, match="It is not a string"):
        google_account(**changed)


def test_another_kind_of_issuer_says_its_subject_alone() -> None:
    identity = identity_of(google_claims(iat=None), name="ci", kind="oidc")
    assert (identity.kubernetes, identity.google, identity.issued_at) == (None, None, None)
