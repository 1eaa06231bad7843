# SPDX-License-Identifier: Apache-2.0
import pytest

from callers import identity_of
from podpass.errors import WrongAudienceError
from podpass.verify.audience import api_server_of, check_service_audience
from podpass.verify.verifier import VerifiedToken
from token_forge import AUDIENCE, ISSUER, kubernetes_claims


def token(*audiences: str) -> VerifiedToken:
    return identity_of(kubernetes_claims(aud=list(audiences))).token


@pytest.mark.parametrize(
    "other",
    [
        ISSUER,
        "https://kubernetes.default.svc",
        "https://kubernetes.default.svc.cluster.local",
        "https://kubernetes.default.svc.corp.example",
        "https://kubernetes.default.svc:443",
        "https://kubernetes.default.svc/",
        "k3s",
        "rke2",
        "system:konnectivity-server",
        "my-api",
    ],
)
def test_invariant_7_a_token_that_also_names_an_api_server_is_refused(other: str) -> None:
    for audiences in ((AUDIENCE, other), (other, AUDIENCE)):
        with pytest.raises(WrongAudienceError) as caught:
            check_service_audience(token(*audiences), api_audiences={"my-api"}, several=True)
        assert caught.value.full_code == "token.api-audience"


@pytest.mark.parametrize(
    "audience", [AUDIENCE, f"{ISSUER}/", "https://orders.shop.svc.cluster.local", "https://kubernetes.default.svcs", "k3s-orders"]
)
def test_a_services_own_name_is_none_of_an_api_server(audience: str) -> None:
    assert api_server_of(audience, issuer=ISSUER, api_audiences=["my-api"]) is None


def test_one_audience_is_wanted_unless_several_are_allowed() -> None:
    check_service_audience(token(AUDIENCE))
    check_service_audience(token(AUDIENCE, "cart-api"), several=True)
    with pytest.raises(WrongAudienceError) as caught:
        check_service_audience(token(AUDIENCE, "cart-api"))
    assert caught.value.full_code == "token.several-audiences"
    assert str(caught.value) == (
        "The token is meant for 2 audiences. Each of them could use it against the others. "
        "Ask for a token with the single audience 'orders-api', or allow severalAudiences in the policy."
    )
