# SPDX-License-Identifier: Apache-2.0
"""Keys and second opinions of an API server as a pod gets them, on the built-in one and on a real control plane."""

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from podpass.discovery.api_server import ApiServerOrigin, InClusterApi
from podpass.discovery.key_cache import KeyCache
from podpass.discovery.kube import KubeApi
from podpass.discovery.patience import patiently
from podpass.discovery.token_review import TokenReviewer
from podpass.errors import RefusedError, TokenRevokedError
from podpass.kube import issuer, kubeconfig, objects
from podpass.kube.client import KubeClient, Request, connect
from podpass.kube.tokens import request_token
from podpass.names import Audience, Issuer, Secret, ServiceAccountRef
from podpass.sandbox.hosting import HostedSandbox
from podpass.verify import Verifier
from podpass.verify.identity import Identity

CALLER, GUARD, PLAIN = (ServiceAccountRef("default", name) for name in ("caller", "guard", "plain"))
AUDIENCE = "orders-api"


@pytest.fixture(scope="module")
def client(cluster_sandbox: HostedSandbox) -> Iterator[KubeClient]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in cluster_sandbox.environment().items():
            patch.setenv(name, value)
        with connect(kubeconfig.load()) as client:
            for account in (CALLER, GUARD, PLAIN):
                objects.ensure_service_account(client, account)
            bind(client)
            yield client


def bind(client: KubeClient) -> None:
    """Let the guard's account review tokens, as the manifests of a guarded service do."""
    body = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "guard-reviews"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": GUARD.name, "namespace": GUARD.namespace}],
    }
    client.call(Request("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "bind a role", body=body))


def pod_of(account: ServiceAccountRef, client: KubeClient, folder: Path) -> InClusterApi:
    """Lay out what kubelet gives to a container of this account."""
    folder.mkdir()
    (folder / "token").write_text(request_token(client, account).value.reveal())
    authority = client.access.config.cluster.certificate_auth_data
    assert authority
    (folder / "ca.crt").write_bytes(_pem(authority))
    address = urlsplit(client.access.server)
    return InClusterApi.find({"KUBERNETES_SERVICE_HOST": str(address.hostname), "KUBERNETES_SERVICE_PORT": str(address.port)}, folder)


def _pem(data: str) -> bytes:
    import base64  # noqa: PLC0415 - of this function

    pem = base64.b64decode(data)
    ssl.PEM_cert_to_DER_cert(pem.decode())
    return pem


@pytest.fixture
def api(client: KubeClient, tmp_path: Path) -> Iterator[InClusterApi]:
    api = pod_of(GUARD, client, tmp_path / "guard")
    yield api
    api.close()


def identify(client: KubeClient, api: InClusterApi, token: Secret[str]) -> Identity:
    discovery = issuer.get_discovery(client)
    assert discovery is not None
    cache = KeyCache(ApiServerOrigin(api))
    verifier = Verifier(issuer=Issuer(discovery.issuer), audiences=[Audience(AUDIENCE)], keys=cache)
    verified = patiently(lambda: verifier.verify(token.reveal(), now=datetime.now(UTC) + timedelta(seconds=1)))
    return Identity.of(verified, issuer_name="cluster", kind="kubernetes")


def test_a_callers_token_is_verified_with_the_keys_of_the_pods_own_api_server(client: KubeClient, api: InClusterApi) -> None:
    token = request_token(client, CALLER, audiences=[AUDIENCE]).value
    assert str(identify(client, api, token).subject) == f"system:serviceaccount:{CALLER.namespace}:{CALLER.name}"
    assert api.keys().keys == KubeApi(client).keys().keys


def test_the_token_of_an_account_that_is_gone_is_refused_although_its_signature_holds(client: KubeClient, api: InClusterApi) -> None:
    gone = ServiceAccountRef("default", "gone")
    objects.ensure_service_account(client, gone)
    token = request_token(client, gone, audiences=[AUDIENCE]).value
    identity, now = identify(client, api, token), datetime.now(UTC)
    before = TokenReviewer(api)
    patiently(lambda: before.review(token, identity, now=now))
    client.call(Request("DELETE", f"/api/v1/namespaces/{gone.namespace}/serviceaccounts/{gone.name}", "delete the account"))
    for reviewer in (TokenReviewer(api), TokenReviewer(KubeApi(client))):
        with pytest.raises(TokenRevokedError):
            _until_refused(reviewer, token, identity)
    assert identify(client, api, token) is not None


def _until_refused(reviewer: TokenReviewer, token: Secret[str], identity: Identity) -> None:
    """A real API server remembers a good token for some seconds; time passes here without waiting for our own memory."""
    import time  # noqa: PLC0415 - a real server has a clock of its own

    start = datetime.now(UTC)
    for number in range(60):
        now = start + number * timedelta(seconds=11)
        patiently(lambda now=now: reviewer.review(token, identity, now=now))  # type: ignore[misc]
        time.sleep(0.5)


def test_a_token_for_another_audience_is_not_stood_by(client: KubeClient, api: InClusterApi) -> None:
    token = request_token(client, CALLER, audiences=["somebody-else"]).value
    status = api.review(token, AUDIENCE)
    assert status.get("authenticated") is not True


def test_an_account_without_the_role_is_told_which_one_it_needs(client: KubeClient, tmp_path: Path) -> None:
    api = pod_of(PLAIN, client, tmp_path / "plain")
    assert api.keys().keys.keys
    with pytest.raises(RefusedError, match="system:auth-delegator"):
        api.review(request_token(client, CALLER, audiences=[AUDIENCE]).value, AUDIENCE)
    api.close()
