# SPDX-License-Identifier: Apache-2.0
"""Which identity a pod has: the operator's settings bound what an annotation may ask for."""

import pytest

from podpass.errors import ConfigError, MalformedTokenError
from podpass.exchange.credential_config import CredentialConfig
from podpass.metadata.account import Settings, choose, facts
from podpass.metadata.subject import Subject
from podpass.names import GoogleServiceAccount, ProviderName, Secret
from podpass.names.annotations import AccountAnnotations
from token_forge import kubernetes_claims, rsa_signer

PROVIDER = ProviderName.parse("projects/123/locations/global/workloadIdentityPools/demo-pool/providers/demo-oidc")
OPERATORS = GoogleServiceAccount("operators@demo-project.iam.gserviceaccount.com")
WISHED = GoogleServiceAccount("shop-sa@demo-project.iam.gserviceaccount.com")
CREDENTIAL = CredentialConfig(PROVIDER, "/var/run/secrets/podpass/token", service_account=OPERATORS)
SUBJECT = Subject.read(Secret(rsa_signer().token(kubernetes_claims(aud=[PROVIDER.audience])), "subject token"))


def wish(**annotations: str) -> AccountAnnotations:
    return AccountAnnotations.parse({f"podpass.dev/{name.replace('_', '-')}": value for name, value in annotations.items()})


def test_without_annotations_the_pod_is_who_the_operator_says() -> None:
    assert choose(Settings(CREDENTIAL), AccountAnnotations(), SUBJECT) == CREDENTIAL


def test_an_annotation_names_the_account() -> None:
    assert choose(Settings(CREDENTIAL), wish(google_service_account=WISHED.email), SUBJECT).service_account == WISHED


@pytest.mark.parametrize("allowed", [WISHED.email, "*@demo-project.iam.gserviceaccount.com", "shop-*"])
def test_an_account_that_the_operator_allows_may_be_named(allowed: str) -> None:
    settings = Settings(CREDENTIAL, allowed_accounts=("other@x.iam.gserviceaccount.com", allowed))
    assert choose(settings, wish(google_service_account=WISHED.email), SUBJECT).service_account == WISHED


@pytest.mark.parametrize("allowed", [OPERATORS.email, "*@other-project.iam.gserviceaccount.com", "SHOP-*", "shop-sa"])
def test_an_account_that_the_operator_does_not_allow_is_refused(allowed: str) -> None:
    with pytest.raises(ConfigError) as refused:
        choose(Settings(CREDENTIAL, allowed_accounts=(allowed,)), wish(google_service_account=WISHED.email), SUBJECT)
    assert str(refused.value) == (
        f"The service account shop/checkout is annotated with the Google service account {WISHED}. "
        f"This metadata server acts as {allowed} only. "
        "Correct the annotation, or ask whoever deploys the pod for --allow-google-service-account."
    )


def test_an_annotation_may_repeat_the_provider_but_not_choose_another_one() -> None:
    assert choose(Settings(CREDENTIAL), wish(provider=PROVIDER.audience), SUBJECT) == CREDENTIAL
    with pytest.raises(ConfigError, match=r"is annotated with the provider .*/evil-oidc. This metadata server was set up for .*/demo-oidc"):
        choose(Settings(CREDENTIAL), wish(provider=str(PROVIDER.pool.provider("evil-oidc"))), SUBJECT)


def test_an_annotation_s_audience_has_to_be_the_subject_token_s() -> None:
    assert choose(Settings(CREDENTIAL), wish(audience=PROVIDER.audience), SUBJECT) == CREDENTIAL
    with pytest.raises(ConfigError, match=r"annotated with the audience 'other'. The pod's subject token is for //iam.googleapis.com/"):
        choose(Settings(CREDENTIAL), wish(audience="other"), SUBJECT)


def test_a_provider_by_its_project_s_id_is_refused_at_the_start() -> None:
    by_id = ProviderName.parse(str(PROVIDER).replace("123", "demo-project"))
    with pytest.raises(ConfigError, match=r"is named by its project's id.*gcloud projects describe demo-project"):
        Settings(CredentialConfig(by_id, "token"))


def test_a_pod_with_an_account_is_that_account_to_its_clients() -> None:
    told = facts(Settings(CREDENTIAL, "demo-project", "europe-west3-a", (("cluster-name", "demo"),)), CREDENTIAL, SUBJECT)
    assert (told.email, told.project_number, told.project_id, told.no_id_token) == (OPERATORS.email, "123", "demo-project", None)
    assert (told.machine.name, told.machine.zone, told.machine.attributes) == ("node-1", "europe-west3-a", {"cluster-name": "demo"})


def test_a_pod_without_an_account_is_its_pool_to_its_clients_and_is_told_how_to_get_id_tokens() -> None:
    direct = CredentialConfig(PROVIDER, "token")
    told = facts(Settings(direct), direct, SUBJECT)
    assert told.email == "demo-pool.global.123.workload.id.goog"
    assert told.no_id_token is not None
    assert "Give podpass metadata-server --google-service-account" in told.no_id_token
    annotated = facts(Settings(direct, reads_annotations=True), direct, SUBJECT)
    assert annotated.no_id_token == (
        "Unable to generate identity token; the service account shop/checkout acts as itself, "
        "and Google issues ID tokens for Google service accounts only.\n"
        "Annotate it: kubectl annotate serviceaccount checkout --namespace shop "
        "iam.gke.io/gcp-service-account=ID@PROJECT.iam.gserviceaccount.com"
    )


@pytest.mark.parametrize(
    ("claim", "name"),
    [
        ({"node": {"name": "node-1", "uid": "u"}, "pod": {"name": "pod-1", "uid": "v"}}, "node-1"),
        ({"pod": {"name": "pod-1", "uid": "v"}}, "pod-1"),
        ({"node": "node-1"}, "checkout"),
        ("nonsense", "checkout"),
    ],
)
def test_the_machine_is_the_node_as_far_as_the_token_says_it(claim: object, name: str) -> None:
    subject = Subject.read(Secret(rsa_signer().token(kubernetes_claims(**{"kubernetes.io": claim})), "subject token"))
    assert subject.machine_name == name
    assert 0 < subject.machine_number < 2**63


def test_the_machine_s_number_stays_and_differs_between_machines() -> None:
    numbers = [
        Subject.read(
            Secret(rsa_signer().token(kubernetes_claims(**{"kubernetes.io": {"node": {"name": "n", "uid": uid}}})), "subject token")
        ).machine_number
        for uid in ("a", "a", "b")
    ]
    assert numbers[0] == numbers[1] != numbers[2]


def test_another_token_than_a_service_account_s_is_refused() -> None:
    with pytest.raises(ConfigError, match="The subject token is not of a Kubernetes service account"):
        Subject.read(Secret(rsa_signer().token(kubernetes_claims(sub="somebody")), "subject token"))
    with pytest.raises(MalformedTokenError):
        Subject.read(Secret("no token", "subject token"))
