# SPDX-License-Identifier: Apache-2.0
"""The two Python clients of Kubernetes do the basics on both clusters."""

# ruff: noqa: ANN401 - the types of both clients are not whole

from collections.abc import Iterator
from typing import Any

import kubernetes.client
import kubernetes.config
import kubernetes.watch
import lightkube
import pytest
from kubernetes.client.exceptions import ApiException
from lightkube.models.authentication_v1 import TokenRequestSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.authentication_v1 import TokenReview
from lightkube.resources.batch_v1 import Job
from lightkube.resources.core_v1 import ConfigMap, Pod, ServiceAccount, ServiceAccountToken
from lightkube.types import PatchType

from node_world import NodeWorld
from pods import SH

POD_SPEC = {"restartPolicy": "Never", "containers": [{"name": "main", "image": SH, "args": ["echo hello"]}]}


@pytest.fixture(scope="module")
def light(node_world: NodeWorld) -> Iterator[Any]:
    config = lightkube.KubeConfig.from_dict(node_world.cluster.admin_kubeconfig())
    client = lightkube.Client(config, field_manager="light", trust_env=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def official(node_world: NodeWorld) -> Iterator[Any]:
    with kubernetes.config.new_client_from_config_dict(node_world.cluster.admin_kubeconfig()) as client:  # type: ignore[no-untyped-call] # as its authors left it
        yield client


def config_map(name: str, **data: str) -> ConfigMap:
    return ConfigMap(metadata=ObjectMeta(name=name), data=data)


def test_lightkube_makes_changes_and_deletes(light: Any) -> None:
    made = light.create(config_map("light", a="1"))
    assert light.get(ConfigMap, "light").data == {"a": "1"}
    assert light.patch(ConfigMap, "light", {"data": {"b": "2"}}, patch_type=PatchType.MERGE).data == {"a": "1", "b": "2"}
    with pytest.raises(lightkube.ApiError) as stale:
        light.replace(made)
    assert (stale.value.status.code, stale.value.status.reason) == (409, "Conflict")
    with pytest.raises(lightkube.ApiError) as taken:
        light.create(config_map("light"))
    assert taken.value.status.reason == "AlreadyExists"
    light.delete(ConfigMap, "light")
    with pytest.raises(lightkube.ApiError) as gone:
        light.get(ConfigMap, "light")
    assert (gone.value.status.reason, gone.value.status.message) == ("NotFound", 'configmaps "light" not found')


def test_lightkube_applies_and_shares(light: Any) -> None:
    assert light.apply(config_map("applied", a="1")).data == {"a": "1"}
    with pytest.raises(lightkube.ApiError) as conflict:
        light.apply(config_map("applied", a="2"), field_manager="other")
    assert conflict.value.status.message == 'Apply failed with 1 conflict: conflict with "light": .data.a'
    assert light.apply(config_map("applied", a="2"), field_manager="other", force=True).data == {"a": "2"}
    assert light.apply(config_map("applied", a="2"), dry_run=True).data == {"a": "2"}
    changed = light.apply(config_map("applied", a="3"), field_manager="other")
    assert [(row.manager, row.operation) for row in changed.metadata.managedFields] == [("other", "Apply")]
    assert "data" not in (light.apply(ConfigMap(metadata=ObjectMeta(name="applied")), field_manager="other").to_dict())


def test_lightkube_lists_pages_and_selects(light: Any) -> None:
    for number in range(5):
        light.create(ConfigMap(metadata=ObjectMeta(name=f"page-{number}", labels={"set": "pages"}), data={}))
    found = light.list(ConfigMap, labels={"set": "pages"}, chunk_size=2)
    assert [obj.metadata.name for obj in found] == [f"page-{number}" for number in range(5)]
    assert len(list(light.list(ConfigMap, fields={"metadata.name": "page-3"}))) == 1


def test_lightkube_gets_a_token_that_a_review_knows(light: Any) -> None:
    light.create(ServiceAccount(metadata=ObjectMeta(name="light-robot")))
    spec = TokenRequestSpec(audiences=["sts"], expirationSeconds=600)
    answer = light.create(ServiceAccountToken(metadata=ObjectMeta(), spec=spec), "light-robot")
    review = light.create(TokenReview.from_dict({"metadata": {}, "spec": {"token": answer.status.token, "audiences": ["sts", "other"]}}))
    assert (review.status.authenticated, review.status.audiences) == (True, ["sts"])
    assert review.status.user.username == "system:serviceaccount:default:light-robot"
    foreign = light.create(TokenReview.from_dict({"metadata": {}, "spec": {"token": answer.status.token}}))
    assert not foreign.status.authenticated


def test_lightkube_waits_for_a_job_and_reads_its_log(light: Any) -> None:
    light.create(Job.from_dict({"metadata": {"name": "light-job"}, "spec": {"template": {"spec": POD_SPEC}}}))
    light.wait(Job, "light-job", for_conditions=["Complete"], raise_for_conditions=["Failed"])
    (pod,) = light.list(Pod, labels={"batch.kubernetes.io/job-name": "light-job"})
    assert "".join(light.log(pod.metadata.name)) == "hello\n"


def test_official_client_does_the_basics(official: Any) -> None:
    core: Any = kubernetes.client.CoreV1Api(official)
    body = kubernetes.client.V1ConfigMap(metadata=kubernetes.client.V1ObjectMeta(name="official"), data={"a": "1"})
    made = core.create_namespaced_config_map("default", body)
    assert core.read_namespaced_config_map("official", "default").data == {"a": "1"}
    patched = core.patch_namespaced_config_map("official", "default", {"data": {"b": "2"}})
    assert patched.data == {"a": "1", "b": "2"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("official", "default", made)
    assert stale.value.status == 409
    core.patch_namespaced_config_map("official", "default", [{"op": "add", "path": "/metadata/labels", "value": {"set": "official"}}])
    core.delete_collection_namespaced_config_map("default", label_selector="set=official")
    with pytest.raises(ApiException) as gone:
        core.read_namespaced_config_map("official", "default")
    assert (gone.value.status, gone.value.reason) == (404, "Not Found")


def test_official_client_watches_a_job_to_its_end(official: Any) -> None:
    batch: Any = kubernetes.client.BatchV1Api(official)
    core: Any = kubernetes.client.CoreV1Api(official)
    batch.create_namespaced_job("default", {"metadata": {"name": "official"}, "spec": {"template": {"spec": POD_SPEC}}})
    watch: Any = kubernetes.watch.Watch()  # type: ignore[no-untyped-call] # as its authors left it
    selector = "metadata.name=official"
    for event in watch.stream(batch.list_namespaced_job, "default", field_selector=selector, timeout_seconds=30):
        if event["object"].status.succeeded:
            watch.stop()
    assert batch.read_namespaced_job("official", "default").status.succeeded == 1
    (pod,) = core.list_namespaced_pod("default", label_selector="batch.kubernetes.io/job-name=official").items
    assert core.read_namespaced_pod_log(pod.metadata.name, "default") == "hello\n"
    assert kubernetes.client.VersionApi(official).get_code().major == "1"
