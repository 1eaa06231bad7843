# SPDX-License-Identifier: Apache-2.0
"""What an API server answers to requests that are wrong, word for word; the real one is asked too, and must say the same."""

import base64
import ssl
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from node_world import NodeWorld

Json = dict[str, Any]
JSON, MERGE, APPLY = "application/json", "application/merge-patch+json", "application/apply-patch+yaml"
MAPS = "/api/v1/namespaces/default/configmaps"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
TOKEN = "/api/v1/namespaces/default/serviceaccounts/default/token"
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
ENDS = "and must start and end with an alphanumeric character"
STALE = "the object has been modified; please apply your changes to the latest version and try again"
NOT_ALLOWED = "the server does not allow this method on the requested resource"
NOT_FOUND = "the server could not find the requested resource"
CANNOT = 'ConfigMap in version "v1" cannot be handled as a ConfigMap: '
RESTART = 'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'


def config_map(name: str = "fresh", **members: Any) -> Json:  # noqa: ANN401 - JSON
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **members.pop("metadata", {})}, **members}


def job(*containers: Json, pod: Json | None = None, **spec: Any) -> Json:  # noqa: ANN401 - JSON
    template = {"spec": {"restartPolicy": "Never", "containers": list(containers), **(pod or {})}}
    return {"metadata": {"name": "fresh"}, "spec": {"template": template, **spec}}


def binding(role: Json, *subjects: Json) -> Json:
    return {"metadata": {"name": "fresh"}, "roleRef": role, "subjects": list(subjects)}


DELEGATOR = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"}
C = {"name": "c", "image": "i"}
SHORT_TOKEN = {"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 5}}]}}

# method, path, type of the body, body, status, message
ANSWERS: list[tuple[str, str, str, Any, int, str]] = [
    (
        *("POST", MAPS, JSON, config_map("Foo_"), 422),
        (
            f'ConfigMap "Foo_" is invalid: metadata.name: Invalid value: "Foo_": a lowercase RFC 1123 subdomain must consist of lower case '
            f"alphanumeric characters, '-' or '.', {ENDS} (e.g. 'example.com', regex used for validation is "
            r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        ),
    ),
    (
        *("POST", "/api/v1/namespaces", JSON, {"metadata": {"name": "n_9"}}, 422),
        (
            f'Namespace "n_9" is invalid: metadata.name: Invalid value: "n_9": a lowercase RFC 1123 label must consist of lower case '
            f"alphanumeric characters or '-', {ENDS} (e.g. 'my-name',  or '123-abc', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
        ),
    ),
    ("POST", MAPS, JSON, {"metadata": {}}, 422, 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'),
    (
        *("POST", MAPS, JSON, config_map(metadata={"labels": {"a": "x y"}}), 422),
        (
            'ConfigMap "fresh" is invalid: metadata.labels: Invalid value: "x y": a valid label must be an empty string or consist of '
            f"alphanumeric characters, '-', '_' or '.', {ENDS} (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
            "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
        ),
    ),
    (
        *("POST", MAPS, JSON, config_map(metadata={"labels": {"a b": "x"}}), 422),
        (
            'ConfigMap "fresh" is invalid: metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '
            f"'-', '_' or '.', {ENDS} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
            "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
        ),
    ),
    (
        *("POST", MAPS, JSON, config_map(data={"a/b": "x"}), 422),
        (
            'ConfigMap "fresh" is invalid: data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '
            "'-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
        ),
    ),
    (
        *("POST", MAPS, JSON, config_map(data={"a": 1}), 400),
        f"{CANNOT}json: cannot unmarshal number into Go struct field ConfigMap.data of type string",
    ),
    (
        *("POST", f"{MAPS}?fieldValidation=Strict", JSON, config_map(metadata={"bar": 1}, foo=1), 400),
        f'{CANNOT}strict decoding error: unknown field "metadata.bar", unknown field "foo"',
    ),
    (
        *("POST", f"{MAPS}?fieldValidation=Strict", JSON, b'{"metadata":{"name":"x","name":"x"},"data":{"a":"1","a":"2"}}', 400),
        f'{CANNOT}strict decoding error: duplicate field "metadata.name", duplicate field "data.a"',
    ),
    (
        *("POST", MAPS, "text/plain", b"x", 415),
        (
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, "
            "application/vnd.kubernetes.protobuf"
        ),
    ),
    ("POST", MAPS, JSON, config_map("there"), 409, 'configmaps "there" already exists'),
    (
        *("POST", MAPS, JSON, config_map(metadata={"namespace": "other"}), 400),
        "the namespace of the provided object does not match the namespace sent on the request",
    ),
    ("POST", "/api/v1/namespaces/nope/configmaps", JSON, config_map(), 404, 'namespaces "nope" not found'),
    ("POST", MAPS, JSON, config_map(metadata={"resourceVersion": "3"}), 500, "resourceVersion should not be set on objects to be created"),
    ("GET", f"{MAPS}/nope", "", None, 404, 'configmaps "nope" not found'),
    ("PUT", f"{MAPS}/nope", JSON, config_map("nope"), 404, 'configmaps "nope" not found'),
    ("DELETE", f"{MAPS}/nope", "", None, 404, 'configmaps "nope" not found'),
    (
        *("PUT", f"{MAPS}/there", JSON, config_map("there", metadata={"resourceVersion": "1"}), 409),
        f'Operation cannot be fulfilled on configmaps "there": {STALE}',
    ),
    (
        *("PATCH", f"{MAPS}/there", MERGE, {"metadata": {"resourceVersion": "1"}}, 409),
        f'Operation cannot be fulfilled on configmaps "there": {STALE}',
    ),
    (
        *("PUT", f"{MAPS}/there", JSON, config_map("else"), 400),
        "the name of the object (else) does not match the name on the URL (there)",
    ),
    (
        *("PUT", f"{MAPS}/fixed", JSON, config_map("fixed", data={"a": "2"}, immutable=True), 422),
        'ConfigMap "fixed" is invalid: data: Forbidden: field is immutable when `immutable` is set',
    ),
    (
        *("PATCH", f"{MAPS}/there", APPLY, config_map("there"), 422),
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
    ),
    (
        *("PATCH", f"{MAPS}/applied?fieldManager=other", APPLY, config_map("applied", data={"k": "w"}), 409),
        'Apply failed with 1 conflict: conflict with "first": .data.k',
    ),
    (
        *("PATCH", f"{MAPS}/applied?fieldManager=other", APPLY, config_map("applied", foo=1), 500),
        "failed to create typed patch object (/applied; /v1, Kind=ConfigMap): .foo: field not declared in schema",
    ),
    (
        *("DELETE", f"{MAPS}/there", JSON, {"propagationPolicy": "Foo"}, 422),
        (
            'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Foo": supported values: "Foreground", '
            '"Background", "Orphan", "nil"'
        ),
    ),
    (
        *("GET", f"{MAPS}?fieldSelector=foo=bar", "", None, 400),
        '"foo" is not a known field selector: only "metadata.name", "metadata.namespace"',
    ),
    ("GET", "/api/v1/bars", "", None, 404, NOT_FOUND),
    ("GET", f"{MAPS}/there/status", "", None, 404, NOT_FOUND),
    ("POST", "/api/v1/configmaps", JSON, config_map(), 405, NOT_ALLOWED),
    ("POST", f"{MAPS}/there", JSON, config_map(), 405, NOT_ALLOWED),
    ("POST", JOBS, JSON, job(C, pod={"restartPolicy": "Always"}), 422, f'Job.batch "fresh" is invalid: {RESTART}'),
    ("POST", JOBS, JSON, job(), 422, 'Job.batch "fresh" is invalid: spec.template.spec.containers: Required value'),
    (
        *("POST", JOBS, JSON, {"metadata": {"name": "fresh"}}, 422),
        f'Job.batch "fresh" is invalid: [spec.template.spec.containers: Required value, {RESTART}]',
    ),
    (
        *("POST", JOBS, JSON, job(C, backoffLimit=-1), 422),
        'Job.batch "fresh" is invalid: spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0',
    ),
    (
        *("POST", JOBS, JSON, job(C, backoffLimit="x"), 400),
        (
            'Job in version "v1" cannot be handled as a Job: json: cannot unmarshal string into Go struct field JobSpec.spec.backoffLimit '
            "of type int32"
        ),
    ),
    (
        *("POST", JOBS, JSON, job({**C, "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, C), 422),
        (
            'Job.batch "fresh" is invalid: [spec.template.spec.containers[0].volumeMounts[0].name: Not found: "v", '
            'spec.template.spec.containers[1].name: Duplicate value: "c"]'
        ),
    ),
    (
        *("POST", JOBS, JSON, job(C, pod={"volumes": [SHORT_TOKEN]}), 422),
        (
            'Job.batch "fresh" is invalid: spec.template.spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: '
            "Invalid value: 5: may not specify a duration less than 10 minutes"
        ),
    ),
    (
        *("PATCH", f"{JOBS}/there", MERGE, {"spec": {"completions": 2}}, 422),
        'Job.batch "there" is invalid: spec.completions: Invalid value: 2: field is immutable',
    ),
    (
        *("POST", PODS, JSON, {"metadata": {"name": "fresh"}, "spec": {"serviceAccountName": "nope", "containers": [C]}}, 403),
        'pods "fresh" is forbidden: error looking up service account default/nope: serviceaccount "nope" not found',
    ),
    ("GET", f"{PODS}/there/log?container=nobody", "", None, 400, "container nobody is not valid for pod there"),
    ("GET", f"{PODS}/there/log", "", None, 400, "a container name must be specified for pod there, choose one of: [c d]"),
    (
        *("POST", TOKEN, JSON, {"spec": {"expirationSeconds": 599}}, 422),
        (
            'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less '
            "than 10 minutes"
        ),
    ),
    (
        *("POST", TOKEN, JSON, {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "nope"}}}, 404),
        'pods "nope" not found',
    ),
    (
        *("POST", TOKEN, JSON, {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "there", "uid": "x"}}}, 409),
        (
            'Operation cannot be fulfilled on Pod "there": the UID in the bound object reference (x) does not match the UID in record. '
            "The object might have been deleted and then recreated"
        ),
    ),
    ("POST", TOKEN.replace("/default/token", "/nope/token"), JSON, {"spec": {}}, 404, 'serviceaccounts "nope" not found'),
    (
        *("POST", BINDINGS, JSON, binding({**DELEGATOR, "kind": "Role"}), 422),
        (
            'ClusterRoleBinding.rbac.authorization.k8s.io "fresh" is invalid: roleRef.kind: Unsupported value: "Role": '
            'supported values: "ClusterRole"'
        ),
    ),
    (
        *("POST", BINDINGS, JSON, binding(DELEGATOR, {"kind": "ServiceAccount", "name": "a"}), 422),
        'ClusterRoleBinding.rbac.authorization.k8s.io "fresh" is invalid: subjects[0].namespace: Required value',
    ),
    (
        *("POST", BINDINGS, JSON, binding(DELEGATOR, {"kind": "Robot", "name": "a"}), 422),
        (
            'ClusterRoleBinding.rbac.authorization.k8s.io "fresh" is invalid: subjects[0].kind: Unsupported value: "Robot": '
            'supported values: "ServiceAccount", "User", "Group"'
        ),
    ),
    (
        *("PATCH", f"{BINDINGS}/there", MERGE, {"roleRef": {"name": "view"}}, 422),
        (
            'ClusterRoleBinding.rbac.authorization.k8s.io "there" is invalid: roleRef: Invalid value: '
            '{"APIGroup":"rbac.authorization.k8s.io","Kind":"ClusterRole","Name":"view"}: cannot change roleRef'
        ),
    ),
]


@pytest.fixture(scope="module")
def client(node_world: NodeWorld) -> Iterator[httpx2.Client]:
    """An administrator's client, and the objects that the requests are about."""
    kubeconfig = node_world.cluster.admin_kubeconfig()
    authority = base64.b64decode(kubeconfig["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    headers = {"Authorization": f"Bearer {kubeconfig['users'][0]['user']['token']}"}
    trust = ssl.create_default_context(cadata=authority)
    with httpx2.Client(base_url=node_world.cluster.url, verify=trust, trust_env=False, headers=headers, timeout=60) as client:
        node_world.until(lambda: client.get(TOKEN.removesuffix("/token")).status_code, lambda code: code == 200)
        client.post(MAPS, json=config_map("there")).raise_for_status()
        client.post(MAPS, json=config_map("fixed", data={"a": "1"}, immutable=True)).raise_for_status()
        client.post(JOBS, json={**job(C, suspend=True), "metadata": {"name": "there"}}).raise_for_status()
        client.post(PODS, json={"metadata": {"name": "there"}, "spec": {"containers": [C, {**C, "name": "d"}]}}).raise_for_status()
        client.post(BINDINGS, json={**binding(DELEGATOR), "metadata": {"name": "there"}}).raise_for_status()
        applied = client.patch(
            f"{MAPS}/applied?fieldManager=first", json=config_map("applied", data={"k": "v"}), headers={"Content-Type": APPLY}
        )
        applied.raise_for_status()
        yield client


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: f"{row[0]} {row[5][:60]}")
def test_both_clusters_refuse_in_the_same_words(client: httpx2.Client, row: tuple[str, str, str, Any, int, str]) -> None:
    method, path, media_type, body, status, message = row
    given: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    answer = client.request(method, path, headers={"Content-Type": media_type} if media_type else {}, **given)
    assert (answer.status_code, answer.json()["message"]) == (status, message)
    assert (answer.json()["kind"], answer.json()["status"], answer.json()["code"]) == ("Status", "Failure", status)
