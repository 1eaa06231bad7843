# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta
from typing import Any

import pytest

from podpass.clock import SteppedClock
from podpass.sandbox.kubernetes.garbage import CollectedObjects
from podpass.sandbox.kubernetes.kind import Kind
from podpass.sandbox.kubernetes.kinds import CONFIG_MAP, JOB, NAMESPACE, POD, SECRET, SERVICE_ACCOUNT
from podpass.sandbox.kubernetes.kinds.pods import TOKEN_MOUNT
from podpass.sandbox.kubernetes.options import Deletion, Write
from podpass.sandbox.kubernetes.status import StatusError

Json = dict[str, Any]
CONTAINERS = [{"name": "c", "image": "i"}]


def make(objects: CollectedObjects, kind: Kind, name: str, *, owner: Json | None = None, namespace: str = "default", **body: Any) -> Json:  # noqa: ANN401 - JSON
    metadata = {"name": name, **body.pop("metadata", {})}
    if owner:
        reference = {name: owner["metadata"][name] for name in ("name", "uid")}
        metadata["ownerReferences"] = [{"apiVersion": owner["apiVersion"], "kind": owner["kind"], **reference}]
    return objects.create(kind, namespace if kind.namespaced else "", {"metadata": metadata, **body}, Write())


def names(objects: CollectedObjects, kind: Kind) -> list[str]:
    return [obj["metadata"]["name"] for obj in objects.select(kind)]


def test_versions_grow_and_stale_writes_are_refused(objects: CollectedObjects) -> None:
    first = make(objects, CONFIG_MAP, "c")
    second = objects.change(CONFIG_MAP, "default", "c", lambda obj: {**obj, "data": {"k": "v"}}, Write())
    assert int(second["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    with pytest.raises(StatusError, match="the object has been modified; please apply your changes to the latest version and try again"):
        objects.change(CONFIG_MAP, "default", "c", lambda _: {**first, "data": {"k": "w"}}, Write())


def test_write_that_changes_nothing_makes_no_version(objects: CollectedObjects) -> None:
    first = make(objects, CONFIG_MAP, "c", data={"k": "v"})
    assert objects.change(CONFIG_MAP, "default", "c", lambda obj: obj, Write("somebody-else")) == first


def test_generated_names_differ(objects: CollectedObjects) -> None:
    both = [objects.create(CONFIG_MAP, "default", {"metadata": {"generateName": "c-"}}, Write())["metadata"]["name"] for _ in range(2)]
    assert len(set(both)) == 2
    assert all(len(name) == len("c-") + 5 for name in both)


def test_what_the_server_writes_no_client_changes(objects: CollectedObjects) -> None:
    made = make(objects, CONFIG_MAP, "c")
    metadata = {"creationTimestamp": "2000-01-01T00:00:00Z", "deletionTimestamp": "2000-01-01T00:00:00Z", "generation": 7}
    after = objects.change(CONFIG_MAP, "default", "c", lambda obj: {**obj, "metadata": {**obj["metadata"], **metadata}}, Write())
    assert after == made


def test_status_and_spec_are_written_apart(objects: CollectedObjects) -> None:
    job = make(objects, JOB, "j", spec={"template": {"spec": {"restartPolicy": "Never", "containers": CONTAINERS}}})

    def both(obj: Json) -> Json:
        return {**obj, "spec": {**obj["spec"], "parallelism": 2}, "status": {"active": 1}}

    assert objects.change(JOB, "default", "j", both, Write(dry_run=True))["status"] == {}
    after = objects.change(JOB, "default", "j", both, Write(), "status")
    assert (after["spec"], after["status"]) == (job["spec"], {"active": 1})
    assert after["metadata"]["generation"] == 1
    assert objects.change(JOB, "default", "j", both, Write())["metadata"]["generation"] == 2


def test_dry_run_stores_nothing(objects: CollectedObjects) -> None:
    assert objects.create(CONFIG_MAP, "default", {"metadata": {"name": "c"}}, Write(dry_run=True))["metadata"]["uid"]
    assert names(objects, CONFIG_MAP) == []


def test_job_gets_selector_and_labels_by_its_uid(objects: CollectedObjects) -> None:
    job = make(objects, JOB, "j", spec={"template": {"spec": {"restartPolicy": "Never", "containers": CONTAINERS}}})
    uid = job["metadata"]["uid"]
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    assert job["spec"]["template"]["metadata"]["labels"] == {
        "controller-uid": uid,
        "job-name": "j",
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "j",
    }


@pytest.mark.parametrize("member", [{"completionMode": "Indexed"}, {"podFailurePolicy": {"rules": []}}, {"managedBy": "else"}])
def test_job_that_the_controller_does_not_know_is_501(objects: CollectedObjects, member: Json) -> None:
    with pytest.raises(StatusError, match=rf"does not serve jobs with spec\.{next(iter(member))}; use a real control plane"):
        make(objects, JOB, "j", spec={"template": {"spec": {"restartPolicy": "Never", "containers": CONTAINERS}}, **member})


def test_pod_gets_the_api_servers_token_unless_it_or_its_account_refuses(objects: CollectedObjects) -> None:
    make(objects, SERVICE_ACCOUNT, "quiet", automountServiceAccountToken=False)
    spec: Json = {"containers": CONTAINERS}
    plain = make(objects, POD, "plain", spec=spec)["spec"]
    assert plain["serviceAccountName"] == "default"
    (volume,) = plain["volumes"]
    assert [next(iter(source)) for source in volume["projected"]["sources"]] == ["serviceAccountToken", "configMap", "downwardAPI"]
    assert plain["containers"][0]["volumeMounts"] == [{"name": volume["name"], "readOnly": True, "mountPath": TOKEN_MOUNT}]
    assert "volumes" not in make(objects, POD, "refuses", spec={**spec, "automountServiceAccountToken": False})["spec"]
    assert "volumes" not in make(objects, POD, "by-account", spec={**spec, "serviceAccountName": "quiet"})["spec"]
    own = {"serviceAccountName": "quiet", "automountServiceAccountToken": True}
    assert "volumes" in make(objects, POD, "own-will", spec={**spec, **own})["spec"]


def test_string_data_is_stored_encoded(objects: CollectedObjects) -> None:
    secret = make(objects, SECRET, "s", stringData={"k": "v"})
    assert secret["data"] == {"k": "dg=="}
    assert "stringData" not in secret


def test_immutable_data_stays(objects: CollectedObjects) -> None:
    make(objects, CONFIG_MAP, "c", data={"k": "v"}, immutable=True)
    for change in ({"data": {"k": "w"}}, {"immutable": False}):
        with pytest.raises(StatusError, match="field is immutable when `immutable` is set"):
            objects.change(CONFIG_MAP, "default", "c", lambda obj, change=change: {**obj, **change}, Write())  # type: ignore[misc] # a lambda's default has no type


def test_deleting_an_owner_deletes_what_has_no_other(objects: CollectedObjects) -> None:
    owner, other = make(objects, CONFIG_MAP, "owner"), make(objects, CONFIG_MAP, "other")
    make(objects, SECRET, "alone", owner=owner)
    shared = make(objects, SECRET, "shared", owner=owner)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "other", "uid": other["metadata"]["uid"]}
    shared["metadata"]["ownerReferences"].append(reference)
    objects.change(SECRET, "default", "shared", lambda _: shared, Write())
    objects.delete(CONFIG_MAP, "default", "owner", Deletion())
    assert names(objects, SECRET) == ["shared"]
    assert objects.get(SECRET, "default", "shared")["metadata"]["ownerReferences"] == [reference]


def test_orphans_stay_without_owner(objects: CollectedObjects) -> None:
    make(objects, SECRET, "s", owner=make(objects, CONFIG_MAP, "owner"))
    objects.delete(CONFIG_MAP, "default", "owner", Deletion(propagation="Orphan"))
    assert objects.get(SECRET, "default", "s")["metadata"]["ownerReferences"] == []


def test_dependent_of_an_owner_that_is_gone_is_collected(objects: CollectedObjects) -> None:
    owner = make(objects, CONFIG_MAP, "owner")
    objects.delete(CONFIG_MAP, "default", "owner", Deletion())
    make(objects, CONFIG_MAP, "owner")  # of the same name, with another uid
    make(objects, SECRET, "late", owner=owner)
    assert names(objects, SECRET) == []


def run_on_node(objects: CollectedObjects, name: str, owner: Json | None = None) -> Json:
    pod = make(objects, POD, name, owner=owner, spec={"containers": CONTAINERS, "nodeName": "n"})
    return objects.change(POD, "default", name, lambda obj: {**obj, "status": {"phase": "Running"}}, Write(), "status") or pod


def test_running_pod_goes_when_its_node_says_so(objects: CollectedObjects, clock: SteppedClock) -> None:
    run_on_node(objects, "p")
    pod, gone = objects.delete(POD, "default", "p", Deletion())
    assert not gone
    assert pod["metadata"]["deletionGracePeriodSeconds"] == 30
    assert pod["metadata"]["deletionTimestamp"] == "2026-01-02T12:00:30Z"
    clock.step(timedelta(minutes=5))
    assert objects.delete(POD, "default", "p", Deletion(grace_s=60))[0]["metadata"]["deletionGracePeriodSeconds"] == 30
    assert objects.delete(POD, "default", "p", Deletion(grace_s=0))[1]
    assert names(objects, POD) == []


@pytest.mark.parametrize("node", [None, "n"])
def test_pod_that_runs_nowhere_goes_at_once(objects: CollectedObjects, node: str | None) -> None:
    make(objects, POD, "p", spec={"containers": CONTAINERS, **({"nodeName": node} if node else {})})
    if node:
        objects.change(POD, "default", "p", lambda obj: {**obj, "status": {"phase": "Succeeded"}}, Write(), "status")
    assert objects.delete(POD, "default", "p", Deletion())[1]


def test_foreground_deletion_waits_for_the_dependents(objects: CollectedObjects) -> None:
    owner = make(objects, CONFIG_MAP, "owner")
    run_on_node(objects, "p", owner)
    _, gone = objects.delete(CONFIG_MAP, "default", "owner", Deletion(propagation="Foreground"))
    assert not gone
    assert objects.get(CONFIG_MAP, "default", "owner")["metadata"]["finalizers"] == ["foregroundDeletion"]
    objects.delete(POD, "default", "p", Deletion(grace_s=0))
    assert names(objects, CONFIG_MAP) == []


def test_finalizer_holds_an_object_until_it_is_taken_away(objects: CollectedObjects) -> None:
    make(objects, CONFIG_MAP, "c", metadata={"finalizers": ["podpass.dev/wait"]})
    assert not objects.delete(CONFIG_MAP, "default", "c", Deletion())[1]
    assert objects.get(CONFIG_MAP, "default", "c")["metadata"]["deletionTimestamp"]
    objects.change(CONFIG_MAP, "default", "c", lambda obj: {**obj, "metadata": {**obj["metadata"], "finalizers": []}}, Write())
    assert names(objects, CONFIG_MAP) == []


def test_namespace_goes_when_it_is_empty_and_takes_in_nothing_more(objects: CollectedObjects) -> None:
    run_on_node(objects, "p")
    make(objects, CONFIG_MAP, "c")
    namespace, gone = objects.delete(NAMESPACE, "", "default", Deletion())
    assert (gone, namespace["status"]["phase"]) == (False, "Terminating")
    assert names(objects, CONFIG_MAP) == []
    with pytest.raises(StatusError, match="unable to create new content in namespace default because it is being terminated"):
        make(objects, CONFIG_MAP, "late")
    objects.delete(POD, "default", "p", Deletion(grace_s=0))
    assert names(objects, NAMESPACE) == []


def test_preconditions_protect_a_successor(objects: CollectedObjects) -> None:
    make(objects, CONFIG_MAP, "c")
    for deletion in (Deletion(uid="another"), Deletion(resource_version="1")):
        with pytest.raises(StatusError, match="Precondition failed"):
            objects.delete(CONFIG_MAP, "default", "c", deletion)
    assert names(objects, CONFIG_MAP) == ["c"]


@pytest.mark.parametrize("name", ["/tmp", "../x", "Upper", "a.b", ""])
def test_names_of_volumes_and_containers_are_labels(objects: CollectedObjects, name: str) -> None:
    with pytest.raises(StatusError, match=r"spec\.volumes\[0\]\.name: .*a lowercase RFC 1123 label"):
        make(objects, POD, "p", spec={"containers": CONTAINERS, "volumes": [{"name": name, "emptyDir": {}}]})
    with pytest.raises(StatusError, match=r"spec\.containers\[0\]\.name: .*a lowercase RFC 1123 label"):
        make(objects, POD, "p", spec={"containers": [{"name": name, "image": "i"}]})
