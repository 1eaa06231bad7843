# SPDX-License-Identifier: Apache-2.0
import pytest

from callers import verdict_of, workload
from podpass.errors import ConfigError
from podpass.policy import Refusal, Request
from podpass.policy.short_form import SHARED_HOSTS, from_environment, is_configured

GOOD = {"ID_ISSUER": "https://storage.googleapis.com/demo-oidc", "JWT_AUDIENCE": "https://auth-server.example"}


@pytest.mark.parametrize("own", [False, True], ids=["of the article", "own"])
def test_short_form_is_one_rule_for_the_issuers_tokens(own: bool) -> None:  # noqa: FBT001 - a column of the table
    names = {"ID_ISSUER": "PODPASS_ISSUER", "JWT_AUDIENCE": "PODPASS_AUDIENCE"} if own else {}
    policy = from_environment({names.get(name, name): value for name, value in GOOD.items()})
    assert [str(issuer.issuer) for issuer in policy.issuers] == [GOOD["ID_ISSUER"]]
    assert [str(audience) for audience in policy.audiences] == [GOOD["JWT_AUDIENCE"]]
    assert verdict_of(policy, Request("PATCH", "/any/where"), workload()).refusal is None
    assert verdict_of(policy, Request("GET", "/"), None).refusal is Refusal.NOT_A_MEMBER


@pytest.mark.parametrize("host", sorted(SHARED_HOSTS))
def test_an_issuer_that_many_share_is_refused(host: str) -> None:
    for url in (f"https://{host}", f"https://{host}/", f"https://{host.upper()}", f"https://{host}./", f"https://{host}:443"):
        with pytest.raises(ConfigError) as caught:
            from_environment({**GOOD, "ID_ISSUER": url})
        assert caught.value.full_code == "config.shared-issuer"


@pytest.mark.parametrize(
    "url",
    [
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/organizations",
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
    ],
)
def test_a_tenant_that_stands_for_everybody_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="Many share it"):
        from_environment({**GOOD, "ID_ISSUER": url})


@pytest.mark.parametrize(
    "url",
    [
        "https://container.googleapis.com/v1/projects/p/locations/l/clusters/c",
        "https://oidc.eks.eu-west-1.amazonaws.com/id/0123456789ABCDEF",
        "https://eastus.oic.prod-aks.azure.com/tenant/cluster/",
        "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
        "https://accounts.google.com.example",
    ],
)
def test_an_issuer_of_one_cluster_or_tenant_is_accepted(url: str) -> None:
    assert from_environment({**GOOD, "ID_ISSUER": url}).issuers[0].keys == "discovery"


@pytest.mark.parametrize("url", ["https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"])
def test_the_default_issuer_of_clusters_has_its_keys_from_the_api_server(url: str) -> None:
    assert from_environment({**GOOD, "ID_ISSUER": url}).issuers[0].keys == "apiserver"


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"ID_ISSUER": ""}, "config.short-form"),
        ({"JWT_AUDIENCE": ""}, "config.short-form"),
        ({"ID_ISSUER": "storage.googleapis.com/demo-oidc"}, "config.issuer"),
        ({"ID_ISSUER": "http://oidc.example"}, "config.issuer"),
        ({"JWT_AUDIENCE": "two words"}, "config.audience"),
        ({"PODPASS_ISSUER": "https://other.example"}, "config.short-form"),
        ({"JWT_AUDIENCE": "https://storage.googleapis.com/demo-oidc"}, "config.audience"),
        ({"JWT_AUDIENCE": "https://kubernetes.default.svc.cluster.local"}, "config.audience"),
    ],
)
def test_a_short_form_that_is_not_whole_is_refused(changed: dict[str, str], code: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_environment({**GOOD, **changed})
    assert caught.value.full_code == code


def test_both_spellings_may_say_the_same() -> None:
    assert from_environment({**GOOD, "PODPASS_ISSUER": GOOD["ID_ISSUER"]}).issuers[0].issuer.url == GOOD["ID_ISSUER"]


def test_nothing_set_is_no_short_form() -> None:
    assert not is_configured({"ID_ISSUER": "", "PATH": "/bin"})
    assert is_configured({"JWT_AUDIENCE": "x"})
