# SPDX-License-Identifier: Apache-2.0
"""podpass's calls to a cluster, on the built-in API server and on a real control plane, and the exchange of its tokens."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from podpass.errors import ExchangeRefusedError, ImpersonationRefusedError, SourceUnavailableError
from podpass.exchange.exchanger import Exchanger
from podpass.google import iam, operator, policy
from podpass.google.backoff import Pacing
from podpass.google.connections import new_http
from podpass.google.policy_edit import edit_policy
from podpass.google.rest import GoogleClient, Json
from podpass.kube import config_maps, issuer, kubeconfig, objects, reviews, tokens
from podpass.kube.client import KubeClient, connect
from podpass.kube.config_maps import ConfigMap
from podpass.kube.fault import FaultKind, KubeRefusedError
from podpass.kube.reviews import Access
from podpass.names import GoogleServiceAccount, PoolName, Principal, ProviderName, Secret, ServiceAccountRef
from podpass.sandbox.hosting import HostedSandbox
from podpass.sources.token_request import TokenRequestSource

NUMBER = "415104041262"
ACCOUNT = ServiceAccountRef("default", "calls")


@pytest.fixture(scope="module")
def client(cluster_sandbox: HostedSandbox) -> Iterator[KubeClient]:
    """The cluster's administrator; this very process is logged in to both sides of the sandbox."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster_sandbox.environment().items():
            patch.setenv(name, value)
        with connect(kubeconfig.load()) as client:
            objects.ensure_service_account(client, ACCOUNT)
            yield client


def test_the_cluster_tells_its_version_its_issuer_and_its_keys(client: KubeClient) -> None:
    assert issuer.get_version(client).startswith("v1.")
    discovery = issuer.get_discovery(client)
    assert discovery is not None
    assert discovery.issuer.startswith("https://")
    assert json.loads(issuer.get_jwks(client))["keys"]


def test_the_operator_knows_what_it_may(client: KubeClient) -> None:
    assert reviews.may(client, Access("create", "serviceaccounts", "token", namespace="default"))
    assert reviews.may(client, Access("get", path="/openid/v1/jwks"))


def test_namespaces_and_accounts_are_made_once(client: KubeClient) -> None:
    assert objects.ensure_namespace(client, "calls-system", labels={"a": "b"})
    assert not objects.ensure_namespace(client, "calls-system")
    made = ServiceAccountRef("calls-system", "app")
    assert objects.ensure_service_account(client, made, annotations={"podpass.dev/x": "y"})
    found = objects.get_service_account(client, made)
    assert found is not None
    assert found.annotations["podpass.dev/x"] == "y"
    assert objects.get_service_account(client, ServiceAccountRef("calls-system", "nobody")) is None
    cluster = objects.get_namespace(client, "kube-system")
    assert cluster is not None
    assert cluster.uid


def test_a_config_map_is_replaced_and_deleted_by_compare_and_swap(client: KubeClient) -> None:
    first = config_maps.create_config_map(client, ConfigMap("default", "calls", {"key": "1"}, {"a": "b"}))
    second = config_maps.replace_config_map(client, first.with_data({"key": "2"}))
    for stale in (
        lambda: config_maps.replace_config_map(client, first.with_data({"key": "3"})),
        lambda: config_maps.delete_config_map(client, first),
    ):
        with pytest.raises(KubeRefusedError) as caught:
            stale()
        assert caught.value.kind is FaultKind.CONFLICT
    with pytest.raises(KubeRefusedError) as caught:
        config_maps.create_config_map(client, first)
    assert caught.value.kind is FaultKind.ALREADY_EXISTS
    assert (config_maps.get_config_map(client, "default", "calls") or first).data == {"key": "2"}
    assert config_maps.delete_config_map(client, second)
    assert not config_maps.delete_config_map(client, second)
    assert config_maps.get_config_map(client, "default", "calls") is None
    with pytest.raises(KubeRefusedError) as caught:
        config_maps.create_config_map(client, ConfigMap("no-such-namespace", "calls"))
    assert caught.value.kind is FaultKind.NOT_FOUND


def test_a_token_is_for_its_audience_and_its_time(client: KubeClient) -> None:
    token = tokens.request_token(client, ACCOUNT, audiences=["a-service"], expiration=timedelta(minutes=10))
    assert timedelta(minutes=9) < token.expires_at - datetime.now(UTC) <= timedelta(minutes=10, seconds=5)
    with pytest.raises(KubeRefusedError, match="may not specify a duration less than 10 minutes"):
        tokens.request_token(client, ACCOUNT, expiration=timedelta(minutes=1))
    with pytest.raises(SourceUnavailableError, match="kubectl create serviceaccount nobody --namespace default"):
        TokenRequestSource(client, ServiceAccountRef("default", "nobody"), "a-service").read()


def test_a_stranger_is_refused(client: KubeClient) -> None:
    stranger = tokens.request_token(client, ACCOUNT, expiration=timedelta(minutes=10)).value
    server = client.access.config.cluster
    content = {
        "current-context": "stranger",
        "contexts": [{"name": "stranger", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": server.server, "certificate-authority-data": server.certificate_auth_data}}],
    }
    for secret, kind in ((stranger.reveal(), FaultKind.FORBIDDEN), ("nonsense", FaultKind.UNAUTHENTICATED)):
        user = {"users": [{"name": "u", "user": {"token": secret}}]}
        with connect(kubeconfig.from_dict({**content, **user})) as other, pytest.raises(KubeRefusedError) as caught:
            config_maps.get_config_map(other, "kube-system", "x")
        assert caught.value.kind is kind
        assert secret not in str(caught.value)


class Federation:
    """A provider with the cluster's own keys inline, an account, and the workload's way there."""

    def __init__(self, google: GoogleClient, client: KubeClient) -> None:
        discovery = issuer.get_discovery(client)
        assert discovery is not None
        self.google, self.client = google, client
        self.provider: ProviderName = PoolName(NUMBER, "calls-exchange").provider("cluster")
        self.account = GoogleServiceAccount("calls-exchange@demo-project.iam.gserviceaccount.com")
        self.principal = str(Principal(self.provider.pool, "subject", ACCOUNT.subject))
        self.source = TokenRequestSource(client, ACCOUNT, self.provider.audience)
        iam.create_pool(google, self.provider.pool, {})
        oidc = {"issuerUri": discovery.issuer, "jwksJson": issuer.get_jwks(client).decode()}
        body: Json = {"oidc": oidc, "attributeMapping": {"google.subject": "assertion.sub"}, "attributeCondition": "true"}
        iam.create_provider(google, self.provider, body)
        iam.create_service_account(google, "demo-project", self.account.account_id, {})

    def bind(self) -> None:
        role = "roles/iam.workloadIdentityUser"
        edit_policy(
            iam.ServiceAccountPolicy(self.google, self.account), lambda p: policy.add_member(p, role, self.principal), just_created=True
        )


@pytest.fixture(scope="module")
def federation(client: KubeClient) -> Iterator[Federation]:
    http = new_http()
    with GoogleClient(operator.find(http), http=http, pacing=Pacing(first=timedelta(milliseconds=100))) as google:
        yield Federation(google, client)


def test_a_cluster_s_token_becomes_the_account_s_once_the_grant_is_known(federation: Federation) -> None:
    with Exchanger(federation.provider, service_account=federation.account) as exchanger:
        with pytest.raises(ImpersonationRefusedError, match=r"Permission 'iam\.serviceAccounts\.getAccessToken' denied"):
            exchanger.access_token(federation.source.read())
        federation.bind()
        attempts = Pacing(first=timedelta(milliseconds=200)).start()
        while True:
            try:
                token = exchanger.access_token(federation.source.read())
                break
            except ImpersonationRefusedError:
                assert attempts.pause()
    assert "access token" in repr(token.value)
    assert timedelta(minutes=55) < token.expires_at - datetime.now(UTC) <= timedelta(minutes=60, seconds=5)


def test_without_an_account_the_workload_speaks_for_itself(federation: Federation) -> None:
    with Exchanger(federation.provider) as exchanger:
        assert "federated token" in repr(exchanger.access_token(federation.source.read()).value)


def test_what_the_token_service_refuses_is_told_with_its_cure(federation: Federation) -> None:
    with Exchanger(federation.provider) as exchanger:
        with pytest.raises(ExchangeRefusedError, match=f"Ask for a token with the audience {federation.provider.audience}"):
            exchanger.access_token(TokenRequestSource(federation.client, ACCOUNT, "somebody-else").read())
        with pytest.raises(ExchangeRefusedError, match="What was sent is no token"):
            exchanger.access_token(Secret("nonsense", "subject token"))
    with (
        Exchanger(federation.provider.pool.provider("nowhere")) as exchanger,
        pytest.raises(ExchangeRefusedError, match="run `podpass plan`"),
    ):
        exchanger.access_token(federation.source.read())
