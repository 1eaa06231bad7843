# SPDX-License-Identifier: Apache-2.0
"""A cluster is asked everything at once; what it refuses costs that answer only."""

import json
from typing import Any

import httpx2
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec

from issuer_server import IssuerServer
from podpass.errors import UnreachableError
from podpass.federate.clusters.gathering import gather, is_inside, look_up, projected_tokens
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict
from token_forge import Signer
from unit.kube.api_server import kubeconfig, status

EC = Signer("key-1", ec.generate_private_key(ec.SECP256R1()))
KUBEADM = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n"
ISSUER = "https://10.0.0.1:6443"
NODE = {
    "metadata": {"name": "cp-1", "labels": {"node-role.kubernetes.io/control-plane": ""}},
    "spec": {"providerID": "kind://docker/kind/cp-1"},
    "status": {
        "nodeInfo": {"osImage": "Debian", "kubeletVersion": "v1.34.1"},
        "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}, {"type": "Hostname", "address": "cp-1"}],
    },
}
TOKEN_VOLUME = {
    "projected": {
        "sources": [{"serviceAccountToken": {"audience": "//iam.googleapis.com/x", "expirationSeconds": 172800}}, {"configMap": {}}]
    }
}
API_SERVER = {
    "metadata": {"name": "kube-apiserver-cp-1"},
    "spec": {"containers": [{"command": ["kube-apiserver", f"--service-account-issuer={ISSUER}"]}]},
}


def answers() -> dict[str, Any]:
    return {
        "/version": {"gitVersion": "v1.34.1"},
        "/api/v1/nodes": {"items": [NODE]},
        "/api/v1/namespaces/kube-system/pods": {"items": [API_SERVER]},
        "/.well-known/openid-configuration": {"issuer": ISSUER, "jwks_uri": f"{ISSUER}/openid/v1/jwks"},
        "/openid/v1/jwks": {"keys": []},
        "/api/v1/namespaces/kube-system/configmaps/kubeadm-config": {
            "metadata": {"name": "kubeadm-config", "resourceVersion": "1"},
            "data": {"ClusterConfiguration": KUBEADM},
        },
        "/api/v1/namespaces/default/serviceaccounts/default/token": {
            "status": {"token": EC.token({"iss": ISSUER, "aud": [ISSUER]}), "expirationTimestamp": "2030-01-01T00:00:00Z"}
        },
        "/api/v1/pods": {"items": [{"metadata": {"name": "web"}, "spec": {"volumes": [TOKEN_VOLUME, {"emptyDir": {}}]}}]},
    }


def cluster(prepared: dict[str, Any]) -> KubeClient:
    def answer(request: httpx2.Request) -> httpx2.Response:
        found = prepared.get(request.url.path, status(404, "NotFound", "not found"))
        return found if isinstance(found, httpx2.Response) else httpx2.Response(200, json=found)

    client = connect(from_dict(kubeconfig()), transport=httpx2.MockTransport(answer))
    client._sleep = lambda _: None
    return client


def test_a_node_has_names_and_addresses_that_are_ones_and_says_which_machine_it_is() -> None:
    prepared = answers()
    hostile = ["evil.example/x#", "-oProxyCommand=x", "10.0.0.1;id", "fe80::1%$(id)", "", None, 7, ["10.0.0.3"]]
    addresses = [{"type": "InternalIP", "address": one} for one in [*hostile, "fd00::2", "10.0.0.2"]]
    info = {"machineID": "0" * 32, "bootID": "53571059"}
    named = [{"metadata": {"name": name}} for name in ("-oProxyCommand=x", "a b", "$(id)", "../x", "", "a" * 254)]
    prepared["/api/v1/nodes"] = {"items": [{**NODE, "status": {"nodeInfo": info, "addresses": addresses}}, *named, "no node"]}
    with cluster(prepared) as client:
        (node,) = gather(client).nodes
    assert (node.name, node.addresses, node.machine_id, node.boot_id) == ("cp-1", ("fd00::2", "10.0.0.2"), "0" * 32, "53571059")


def test_everything_that_a_kubeconfig_sees_is_there() -> None:
    with cluster(answers()) as client:
        seen = gather(client)
    assert (seen.version, seen.nodes[0].provider_id, seen.nodes[0].addresses) == ("v1.34.1", "kind://docker/kind/cp-1", ("10.0.0.1",))
    assert seen.nodes[0].is_control_plane
    assert seen.flags[0].issuers == (ISSUER,)
    assert len(seen.commands) == 1  # found under two labels
    assert seen.kubeadm == KUBEADM
    assert seen.discovery
    assert seen.claims
    assert seen.claims.get("aud") == [ISSUER]
    assert json.loads(seen.jwks or "") == {"keys": []}
    assert seen.publication
    assert (seen.publication.is_public, seen.publication.is_inside) == (False, True)
    assert seen.silent == {}


def test_a_refused_question_costs_its_answer_only() -> None:
    prepared = answers()
    for path in ("/api/v1/nodes", "/api/v1/namespaces/kube-system/pods", "/api/v1/namespaces/default/serviceaccounts/default/token"):
        prepared[path] = status(403, "Forbidden", "no")
    with cluster(prepared) as client:
        seen = gather(client)
    assert set(seen.silent) == {"nodes", "flags", "token"}
    assert (seen.nodes, seen.commands, seen.claims) == ((), (), None)
    assert seen.discovery


def test_a_cluster_that_does_not_answer_is_an_error() -> None:
    prepared = answers() | {"/version": httpx2.Response(503)}
    with cluster(prepared) as client, pytest.raises(UnreachableError):
        gather(client)


def test_tokens_that_running_pods_ask_for_are_listed() -> None:
    with cluster(answers()) as client:
        (token,) = projected_tokens(client)
    assert (token.pod, token.audience, token.life.total_seconds()) == ("Pod web", "//iam.googleapis.com/x", 172800)
    with cluster(answers() | {"/api/v1/pods": status(403, "Forbidden", "no")}) as client:
        assert projected_tokens(client) == ()


@pytest.mark.parametrize("host", ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost", "10.0.0.1", "::1", "cp-1"])
def test_names_of_the_inside_are_not_looked_up(host: str) -> None:
    assert is_inside(host)
    where = f"[{host}]" if ":" in host else host
    assert look_up(f"https://{where}").is_inside


def test_names_of_the_outside_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not is_inside("storage.googleapis.com")
    authority, signer = trustme.CA(), EC
    with IssuerServer(authority, signer) as server, authority.cert_pem.tempfile() as bundle:
        monkeypatch.setenv("SSL_CERT_FILE", bundle)
        monkeypatch.setattr("podpass.federate.clusters.gathering.is_inside", lambda _: False)  # the test's issuer is on this machine
        seen = look_up(server.issuer.url)
        assert (seen.is_public, seen.kids) == (True, frozenset({signer.kid}))
        server.is_down = True
        assert look_up(server.issuer.url).is_public is False
        monkeypatch.delenv("SSL_CERT_FILE")
        assert look_up(server.issuer.url).is_public is False
    assert look_up(server.issuer.url).is_public is None  # nobody there: not to be told from here


def test_what_is_no_https_url_is_public_for_nobody() -> None:
    assert look_up("kubernetes/serviceaccount").is_public is False
