# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.errors import SourceUnavailableError
from podpass.kube.fault import KubeRefusedError
from podpass.names import ServiceAccountRef
from podpass.sources.token_request import TokenRequestSource
from unit.kube.api_server import Recorded, cluster, status

ACCOUNT = ServiceAccountRef("shop", "checkout")
ISSUED = {"status": {"token": "eyJ.a.b", "expirationTimestamp": "2026-11-01T12:10:00Z"}}


def source(there: Recorded) -> TokenRequestSource:
    return TokenRequestSource(there.client(), ACCOUNT, "//iam.googleapis.com/x")


def test_a_token_is_asked_for_one_audience_and_the_least_time() -> None:
    there = cluster(ISSUED)
    assert source(there).read().reveal() == "eyJ.a.b"
    assert there.bodies == [
        {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": ["//iam.googleapis.com/x"], "expirationSeconds": 600},
        }
    ]
    assert str(source(there)) == "TokenRequest for shop/checkout"


def test_a_missing_account_is_told_with_the_command_that_makes_it() -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        source(cluster(status(404, "NotFound", 'serviceaccounts "checkout" not found'))).read()
    assert str(caught.value) == (
        'The API server gave no token of the service account shop/checkout. serviceaccounts "checkout" not found. '
        "Run `kubectl create serviceaccount checkout --namespace shop`."
    )


def test_a_forbidden_request_is_told_with_the_right_that_is_missing() -> None:
    with pytest.raises(SourceUnavailableError, match="Ask the cluster's administrator for the verb create on serviceaccounts/token"):
        source(cluster(status(403, "Forbidden", "no"))).read()


def test_other_refusals_stay_what_they_are() -> None:
    with pytest.raises(KubeRefusedError):
        source(cluster(status(422, "Invalid", "may not specify a duration less than 10 minutes"))).read()
