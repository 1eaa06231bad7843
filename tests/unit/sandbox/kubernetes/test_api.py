# SPDX-License-Identifier: Apache-2.0
import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import jwt
import pytest
from starlette.requests import Request
from starlette.types import Message

from podpass.errors import ConfigError
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.kubernetes.authentication import ANONYMOUS
from podpass.sandbox.kubernetes.authorization import Action
from podpass.sandbox.kubernetes.request import ApiRequest
from podpass.sandbox.kubernetes.status import StatusError
from podpass.sandbox.settings import SandboxSettings
from unit.sandbox.kubernetes.api_world import ApiWorld

GOOGLE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
REVIEWS = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def whoami(client: httpx2.Client) -> tuple[int, dict[str, Any]]:
    answer = client.post(REVIEWS, json={})
    return answer.status_code, answer.json()["status"]["userInfo"] if answer.status_code == 201 else {}


@pytest.mark.parametrize("path", ["/openid/v1/jwks", "/.well-known/openid-configuration", "/api", "/apis", "/openapi/v3", "/nonsense"])
def test_anonymous_reads_no_document(api_world: ApiWorld, path: str) -> None:
    answer = api_world.client("").get(path)
    assert answer.status_code == 403
    assert answer.json()["message"] == f'forbidden: User "system:anonymous" cannot get path "{path}"'


def test_anonymous_may_ask_for_health_and_version(api_world: ApiWorld) -> None:
    assert [api_world.client("").get(path).status_code for path in ("/healthz", "/livez", "/readyz", "/version", "/version/")] == [200] * 5


@pytest.mark.parametrize("header", ["Bearer nonsense", "Bearer", "Basic YWRtaW46YWRtaW4=", "Bearer a.b.c"])
def test_unknown_credential_is_401_and_not_anonymous(api_world: ApiWorld, header: str) -> None:
    answer = api_world.client("").get("/version", headers={"Authorization": header})
    assert (answer.status_code, answer.json()["message"]) == (401, "Unauthorized")


def test_token_for_google_is_never_good_at_the_api_server(api_world: ApiWorld) -> None:
    """Invariant 7: the audience meant for Google is not among the API server's, whatever the issuer becomes."""
    bucket = "https://storage.googleapis.com/demo-oidc"
    assert whoami(api_world.client(api_world.token(audiences=[GOOGLE])))[0] == 401
    api_world.run(api_world.api.restart(IssuerChange(issuer=bucket)))
    assert whoami(api_world.client(api_world.token(audiences=[GOOGLE])))[0] == 401
    assert whoami(api_world.client(api_world.token()))[0] == 201


def test_issuer_that_is_googles_audience_is_refused_before_the_server_goes_down(api_world: ApiWorld) -> None:
    with pytest.raises(ConfigError, match="also the API server's own audience"):
        api_world.run(api_world.api.restart(IssuerChange(issuer=f"https:{GOOGLE}")))
    assert api_world.admin.get("/version").status_code == 200


def test_service_account_reads_discovery_and_itself_and_nothing_else(api_world: ApiWorld) -> None:
    client = api_world.client(api_world.token("robot"))
    code, user = whoami(client)
    assert code == 201
    assert user["username"] == "system:serviceaccount:default:robot"
    assert user["groups"] == ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"]
    assert user["extra"]["authentication.kubernetes.io/credential-id"][0].startswith("JTI=")
    allowed = [client.get(path).status_code for path in ("/openid/v1/jwks", "/.well-known/openid-configuration", "/apis", "/openapi/v3")]
    assert allowed == [200] * 4
    refused = client.get(CONFIG_MAPS)
    assert refused.json()["message"] == (
        'configmaps is forbidden: User "system:serviceaccount:default:robot" cannot list resource "configmaps" in API group "" '
        'in the namespace "default"'
    )
    assert client.get("/api/v1/nodes").json()["message"].endswith('cannot list resource "nodes" in API group "" at the cluster scope')


def test_token_dies_with_its_account(api_world: ApiWorld) -> None:
    client = api_world.client(api_world.token("robot"))
    assert whoami(client)[0] == 201
    api_world.admin.delete("/api/v1/namespaces/default/serviceaccounts/robot")
    assert whoami(client)[0] == 401
    api_world.token("robot")  # an account of the same name is another account
    assert whoami(client)[0] == 401


def test_token_dies_with_its_pod(api_world: ApiWorld) -> None:
    api_world.token()
    api_world.admin.post(PODS, json={"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    client = api_world.client(api_world.token(boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"}))
    assert whoami(client)[1]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    api_world.admin.delete(f"{PODS}/p")
    assert whoami(client)[0] == 401


def test_token_ends_at_its_time(api_world: ApiWorld) -> None:
    client = api_world.client(api_world.token(expirationSeconds=600))
    api_world.clock.step(timedelta(seconds=599))
    assert whoami(client)[0] == 201
    api_world.clock.step(timedelta(seconds=62))  # a minute of leeway, as go-jose has
    assert whoami(client)[0] == 401


def test_pod_token_for_the_api_outlives_its_request_and_says_when_to_warn(api_world: ApiWorld) -> None:
    api_world.token()
    api_world.admin.post(PODS, json={"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    bound = {"kind": "Pod", "apiVersion": "v1", "name": "p"}
    own = jwt.decode(api_world.token(expirationSeconds=3607, boundObjectRef=bound), options={"verify_signature": False})
    assert own["exp"] - own["iat"] == 365 * 24 * 3600
    assert own["kubernetes.io"]["warnafter"] - own["iat"] == 3607
    other = jwt.decode(
        api_world.token(expirationSeconds=3607, boundObjectRef=bound, audiences=[GOOGLE]), options={"verify_signature": False}
    )
    assert other["exp"] - other["iat"] == 3607
    assert "warnafter" not in other["kubernetes.io"]


def test_restart_with_another_key_and_issuer_accepts_what_was_kept(api_world: ApiWorld) -> None:
    before = api_world.client(api_world.token())
    kept = IssuerChange(issuer="https://storage.googleapis.com/demo-oidc", new_key="rsa2048")
    old_issuer, url = api_world.api.issuers[0], api_world.api.url
    api_world.run(api_world.api.restart(kept))
    assert api_world.api.issuers == ["https://storage.googleapis.com/demo-oidc", old_issuer]
    assert api_world.api.url == url
    assert whoami(before)[0] == 201
    keys = api_world.admin.get("/openid/v1/jwks").json()["keys"]
    assert [key["alg"] for key in keys] == ["RS256", "ES256"]
    document = api_world.admin.get("/.well-known/openid-configuration").json()
    assert document["issuer"] == "https://storage.googleapis.com/demo-oidc"
    assert document["jwks_uri"] == f"{url}/openid/v1/jwks"


@pytest.mark.parametrize("change", [IssuerChange(new_key="p256", keep_old_keys=False), IssuerChange("https://new.example", ())])
def test_tokens_of_a_dropped_key_or_issuer_are_401(api_world: ApiWorld, change: IssuerChange) -> None:
    before = api_world.client(api_world.token())
    api_world.run(api_world.api.restart(change))
    assert whoami(before)[0] == 401
    assert whoami(api_world.client(api_world.token()))[0] == 201


def test_restart_ends_watches_and_loses_no_object(api_world: ApiWorld) -> None:
    api_world.admin.post(CONFIG_MAPS, json={"metadata": {"name": "c"}})
    ended, begun = threading.Event(), threading.Event()

    def watch() -> None:
        with contextlib.suppress(httpx2.HTTPError), api_world.admin.stream("GET", f"{CONFIG_MAPS}?watch=true") as answer:
            for _ in answer.iter_lines():
                begun.set()
        ended.set()

    threading.Thread(target=watch).start()
    assert begun.wait(60)
    api_world.run(api_world.api.restart(IssuerChange()))
    assert ended.wait(60)
    assert api_world.admin.get(f"{CONFIG_MAPS}/c").status_code == 200


@pytest.fixture
def kept_world(tmp_path: Path) -> Iterator[list[ApiWorld]]:
    worlds: list[ApiWorld] = []
    settings = SandboxSettings(key_type="p256", state_dir=tmp_path / "state")
    worlds.append(ApiWorld(tmp_path, settings))
    yield worlds
    worlds[-1].close()


def test_state_directory_keeps_objects_keys_issuers_and_users(kept_world: list[ApiWorld], tmp_path: Path) -> None:
    first = kept_world[0]
    first.run(first.api.restart(IssuerChange(issuer="https://new.example", new_key="p256")))
    token, admin = first.token(), first.api.admin_kubeconfig()["users"]
    first.close()
    kept_world.append(ApiWorld(tmp_path, SandboxSettings(key_type="p256", state_dir=tmp_path / "state")))
    second = kept_world[1]
    assert second.api.admin_kubeconfig()["users"] == admin
    assert second.api.issuers[0] == "https://new.example"
    assert whoami(second.client(token))[0] == 201
    private = tmp_path / "state" / "kubernetes" / "issuer.json"
    assert private.stat().st_mode & 0o077 == 0


def test_dump_is_the_same_after_what_was_made_is_gone(api_world: ApiWorld) -> None:
    before = api_world.run(api_world.api.dump())
    api_world.admin.post(CONFIG_MAPS, json={"metadata": {"name": "c"}, "data": {"k": "v"}})
    api_world.admin.post("/api/v1/namespaces/default/secrets", json={"metadata": {"name": "s"}, "stringData": {"k": "hush"}})
    between = api_world.run(api_world.api.dump())
    assert between["configmaps"]["default/c"]["data"] == {"k": "v"}
    assert "hush" not in json.dumps(between)
    api_world.admin.delete(f"{CONFIG_MAPS}/c")
    api_world.admin.delete("/api/v1/namespaces/default/secrets/s")
    assert api_world.run(api_world.api.dump()) == before


def test_node_gets_tokens_for_pods_only(api_world: ApiWorld) -> None:
    api_world.token()
    node = api_world.as_user(api_world.api.node_kubeconfig())
    answer = node.post("/api/v1/namespaces/default/serviceaccounts/default/token", json={"spec": {"audiences": ["a"]}})
    assert answer.status_code == 403
    assert answer.json()["message"] == 'serviceaccounts "default" is forbidden: node requested token not bound to a pod'
    assert node.post(CONFIG_MAPS, json={"metadata": {"name": "c"}}).status_code == 403


def test_controller_makes_pods_and_reads_no_secret(api_world: ApiWorld) -> None:
    api_world.token()
    controller = api_world.as_user(api_world.api.controller_kubeconfig())
    pod = {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    assert controller.post(PODS, json=pod).status_code == 201
    assert controller.get("/api/v1/namespaces/default/secrets").status_code == 403


def review(client: httpx2.Client, token: str) -> tuple[int, str]:
    """Have a token reviewed; return the name it stands for."""
    answer = client.post("/apis/authentication.k8s.io/v1/tokenreviews", json={"spec": {"token": token, "audiences": [GOOGLE]}})
    return answer.status_code, answer.json()["status"]["user"]["username"] if answer.status_code == 201 else ""


@pytest.mark.parametrize(
    ("subject", "admitted"),
    [
        ({"kind": "ServiceAccount", "name": "guard", "namespace": "default"}, True),
        ({"kind": "User", "name": "system:serviceaccount:default:guard"}, True),
        ({"kind": "Group", "name": "system:serviceaccounts"}, True),
        ({"kind": "ServiceAccount", "name": "guard", "namespace": "other"}, False),
        ({"kind": "Group", "name": "guard"}, False),
    ],
    ids=str,
)
def test_binding_of_the_auth_delegator_lets_its_subjects_review_tokens(
    api_world: ApiWorld,
    subject: dict[str, Any],
    admitted: bool,  # noqa: FBT001 - a column of the table
) -> None:
    guard, token = api_world.client(api_world.token("guard")), api_world.token("caller", audiences=[GOOGLE])
    assert review(guard, token)[0] == 403
    reference = {"kind": "ClusterRole", "name": "system:auth-delegator"}
    made = api_world.admin.post(BINDINGS, json={"metadata": {"name": "guard"}, "roleRef": reference, "subjects": [subject]})
    assert made.status_code == 201
    assert review(guard, token) == ((201, "system:serviceaccount:default:caller") if admitted else (403, ""))
    assert guard.get(CONFIG_MAPS).status_code == 403
    api_world.admin.delete(f"{BINDINGS}/guard")
    assert review(guard, token)[0] == 403


def test_binding_of_a_role_that_is_not_known_here_is_501_and_names_those_that_are(api_world: ApiWorld) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    answer = api_world.admin.post(BINDINGS, json={"metadata": {"name": "b"}, "roleRef": reference})
    assert answer.status_code == 501
    assert answer.json()["message"] == (
        "the sandbox's API server does not serve bindings of the cluster role cluster-admin (it knows system:auth-delegator); "
        "use a real control plane: --control-plane, or a cluster: --kubeconfig"
    )


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/apis/apps/v1/namespaces/default/deployments", "list deployments"),
        ("/api/v1/namespaces/default/services", "list services"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "list clusterroles"),
        ("/api/v1/namespaces/default/pods/p/exec", "get pods/exec"),
    ],
)
def test_what_only_real_clusters_have_is_501_and_names_the_way_there(api_world: ApiWorld, path: str, method: str) -> None:
    answer = api_world.admin.get(path)
    assert answer.status_code == 501
    assert answer.json()["message"] == (
        f"the sandbox's API server does not serve {method}; use a real control plane: --control-plane, or a cluster: --kubeconfig"
    )


@pytest.mark.parametrize(
    "path", ["/api/v1/bars", "/apis/none.example/v1/bars", "/api/v1//pods", "/api/v1/namespaces/default/configmaps/c/status"]
)
def test_what_no_cluster_has_is_404(api_world: ApiWorld, path: str) -> None:
    assert api_world.admin.get(path).status_code == 404


def test_body_over_the_limit_is_413(api_world: ApiWorld) -> None:
    answer = api_world.admin.post(CONFIG_MAPS, content=b" " * (3 * 1024 * 1024 + 1), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_a_client_that_goes_before_its_body_has_come_is_no_failure_of_the_server() -> None:
    async def gone() -> Message:
        return {"type": "http.disconnect"}

    request = ApiRequest(Request({"type": "http", "headers": []}, gone), ANONYMOUS, Action("create"))
    with pytest.raises(StatusError, match="The client has gone"):
        asyncio.run(request.raw())


def test_warning_carries_no_line_end_into_the_headers(api_world: ApiWorld) -> None:
    answer = api_world.admin.post(CONFIG_MAPS, json={"metadata": {"name": "c"}, 'a\r\nSet-Cookie: "\u00fc': 1})
    assert answer.headers.get_list("warning") == ['299 - "unknown field \\"a\\r\\nSet-Cookie: \\"\\u00fc\\""']
    assert "set-cookie" not in answer.headers


def test_clients_that_are_too_old_are_told_what_would_do(api_world: ApiWorld) -> None:
    answer = api_world.admin.get("/openapi/v2")
    assert answer.status_code == 404
    assert answer.json()["message"] == "the sandbox's API server has no /openapi/v2; kubectl 1.29 and later read /openapi/v3 instead"
