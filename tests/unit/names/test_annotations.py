# SPDX-License-Identifier: Apache-2.0
"""What a service account's annotations say, in podpass's words and in those of others."""

import pytest

from podpass.errors import ConfigError
from podpass.names.annotations import AccountAnnotations

EMAIL = "shop-sa@demo-project.iam.gserviceaccount.com"
PROVIDER = "projects/123/locations/global/workloadIdentityPools/demo-pool/providers/demo-oidc"


@pytest.mark.parametrize(
    "name", ["podpass.dev/google-service-account", "iam.gke.io/gcp-service-account", "cloud.google.com/service-account-email"]
)
def test_the_account_is_read_from_the_annotations_of_gke_and_of_the_older_webhook_too(name: str) -> None:
    account = AccountAnnotations.parse({name: EMAIL, "unrelated": "x"}).google_service_account
    assert account is not None
    assert account.email == EMAIL


@pytest.mark.parametrize("name", ["podpass.dev/provider", "cloud.google.com/workload-identity-provider"])
def test_the_provider_is_read_bare_and_as_an_audience(name: str) -> None:
    for text in (PROVIDER, f"//iam.googleapis.com/{PROVIDER}"):
        assert str(AccountAnnotations.parse({name: text}).provider) == PROVIDER


def test_annotations_that_agree_are_one() -> None:
    both = {"podpass.dev/google-service-account": EMAIL, "iam.gke.io/gcp-service-account": EMAIL}
    assert AccountAnnotations.parse(both) == AccountAnnotations.parse({"iam.gke.io/gcp-service-account": EMAIL})


def test_annotations_that_disagree_are_refused_by_name() -> None:
    both = {"podpass.dev/google-service-account": EMAIL, "iam.gke.io/gcp-service-account": f"other-{EMAIL}"}
    with pytest.raises(ConfigError) as refused:
        AccountAnnotations.parse(both)
    assert str(refused.value) == (
        "The annotations podpass.dev/google-service-account and iam.gke.io/gcp-service-account disagree. "
        f"They say '{EMAIL}' and 'other-{EMAIL}'. Remove all but podpass.dev/google-service-account."
    )


def test_no_annotation_and_an_empty_one_name_nobody() -> None:
    assert AccountAnnotations.parse({}) == AccountAnnotations.parse({"iam.gke.io/gcp-service-account": ""}) == AccountAnnotations()


@pytest.mark.parametrize(
    "annotations",
    [{"iam.gke.io/gcp-service-account": "not an email"}, {"podpass.dev/provider": "demo-oidc"}, {"podpass.dev/audience": "with space"}],
)
def test_values_that_are_no_names_are_refused(annotations: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        AccountAnnotations.parse(annotations)
