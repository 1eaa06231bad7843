# SPDX-License-Identifier: Apache-2.0
"""While a cluster moves to another issuer a token's `iss` chooses its provider, among those that the operator listed and no other."""

import json
from pathlib import Path
from urllib.parse import parse_qs

import httpx2
import pytest

from podpass.errors import ConfigError
from podpass.exchange.credential_config import credential_config, load_credential_config
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.provider_list import SUFFIX, ProviderChoice, provider_list, read_provider_list
from podpass.metadata.account import Settings, choose
from podpass.metadata.subject import Subject
from podpass.names import PoolName, Secret, ServiceAccountRef
from podpass.names.annotations import AccountAnnotations
from podpass.verify import base64url

POOL = PoolName("415104041262", "shop")
OLD, NEW = POOL.provider("cluster"), POOL.provider("cluster-2")
FORMER, COMING = "https://10.0.0.1:6443", "https://storage.googleapis.com/shop-oidc"
LIST = provider_list({FORMER: OLD, COMING: NEW})


def token(issuer: object) -> Secret[str]:
    parts = (base64url.encode(json.dumps(part).encode()) for part in ({"alg": "ES256", "kid": "k"}, {"iss": issuer, "sub": "s"}))
    return Secret(".".join((*parts, "c2ln")), "subject token")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A credential configuration for the old provider."""
    file = tmp_path / "config"
    file.write_text(credential_config(OLD, token_path="/var/run/token"))
    return file


def listed(file: Path, text: str = LIST) -> None:
    file.with_name(file.name + SUFFIX).write_text(text)


def test_without_a_list_the_configuration_decides_as_it_is_now(file: Path) -> None:
    choice = ProviderChoice(load_credential_config(file))
    assert choice.of(token(COMING)) == OLD
    file.write_text(credential_config(NEW, token_path="/var/run/token"))
    assert choice.of(token(FORMER)) == NEW


def test_a_list_that_appears_while_the_program_runs_is_heeded_from_the_next_exchange_on(file: Path) -> None:
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(parse_qs(request.content.decode())["audience"][0])
        return httpx2.Response(200, json={"access_token": "ya29.x", "token_type": "Bearer", "expires_in": 3599})

    with httpx2.Client(transport=httpx2.MockTransport(answer)) as http:
        exchanger = Exchanger.from_config(load_credential_config(file), http=http)
        exchanger.federated_token(token(COMING))
        listed(file)
        for issuer in (COMING, FORMER, "https://else.example"):
            exchanger.federated_token(token(issuer))
    assert asked == [OLD.audience, NEW.audience, OLD.audience, OLD.audience]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"providers": []}',
        LIST.replace("v1alpha1", "v9"),
        LIST.replace("/shop/", "/else/"),
        LIST.replace("415104041262", "1"),
        LIST.replace(COMING, FORMER),
        LIST.replace("//iam.googleapis.com/", "//iam.evil.example/"),
        LIST.replace("https://storage", "http://storage"),
        provider_list({f"https://{number}.example": OLD for number in range(11)}),
        "[" * 100_000,
    ],
)
def test_a_list_that_could_lead_a_token_elsewhere_is_refused_and_the_first_provider_stays(
    file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="This list of providers is refused"):
        read_provider_list(text, POOL)
    listed(file, text)
    choice = ProviderChoice(load_credential_config(file))
    assert [choice.of(token(COMING)) for _ in range(2)] == [OLD, OLD]
    assert len(caplog.records) == 1


def test_another_pool_in_the_configuration_is_for_the_next_start(file: Path) -> None:
    choice = ProviderChoice(load_credential_config(file))
    file.write_text(credential_config(PoolName("415104041262", "else").provider("cluster"), token_path="/var/run/token"))
    assert choice.of(token(FORMER)) == OLD


@pytest.mark.parametrize("content", [None, "{}", "nonsense"])
def test_a_configuration_that_is_gone_or_broken_leaves_the_first_provider(file: Path, content: str | None) -> None:
    choice = ProviderChoice(load_credential_config(file))
    file.unlink()
    if content:
        file.write_text(content)
    assert choice.of(token(FORMER)) == OLD


@pytest.mark.parametrize("subject", [token(1), token(None), Secret("no token", "subject token")])
def test_a_token_without_an_issuer_goes_where_the_configuration_says(file: Path, subject: Secret[str]) -> None:
    listed(file)
    assert ProviderChoice(load_credential_config(file)).of(subject) == OLD


def test_the_metadata_server_s_identity_of_an_annotation_chooses_alike(file: Path) -> None:
    settings = Settings(load_credential_config(file))
    subject = Subject(ServiceAccountRef("shop", "checkout"), (OLD.audience,), "node-1", 1)
    asked = AccountAnnotations.parse({"iam.gke.io/gcp-service-account": "checkout@demo-project.iam.gserviceaccount.com"})
    listed(file)
    assert ProviderChoice(choose(settings, asked, subject)).of(token(COMING)) == NEW
