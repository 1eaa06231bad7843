# SPDX-License-Identifier: Apache-2.0
import copy
from typing import Any

import pytest

from podpass.sandbox.kubernetes.managed import apply, note_update
from podpass.sandbox.kubernetes.status import StatusError

NOW = "2026-01-02T12:00:00Z"


def config(data: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **more}, **({"data": data} if data is not None else {})}


def applied(live: dict[str, Any], wanted: dict[str, Any], manager: str = "mine", *, force: bool = False) -> dict[str, Any]:
    return apply(live, wanted, manager, "", NOW, force=force)


def fields_of(obj: dict[str, Any], manager: str) -> Any:  # noqa: ANN401 - JSON
    return next((row["fieldsV1"] for row in obj["metadata"]["managedFields"] if row["manager"] == manager), None)


def test_applied_fields_belong_to_their_manager() -> None:
    obj = applied(config(), config({"a": "1"}, labels={"x": "y"}))
    assert obj["data"] == {"a": "1"}
    assert fields_of(obj, "mine") == {"f:data": {"f:a": {}}, "f:metadata": {"f:labels": {"f:x": {}}}}


def test_what_is_no_longer_declared_goes_and_leaves_no_empty_map() -> None:
    obj = applied(config(), config({"a": "1", "b": "2"}, labels={"x": "y"}))
    assert applied(obj, config({"a": "1"}))["data"] == {"a": "1"}
    assert "labels" not in applied(obj, config({"a": "1"}))["metadata"]


def test_what_another_declares_too_stays() -> None:
    both = applied(applied(config(), config({"a": "1"})), config({"a": "1"}), "yours")
    assert applied(both, config())["data"] == {"a": "1"}


def test_another_managers_value_is_a_conflict_that_names_both() -> None:
    obj = applied(config(), config({"a": "1"}))
    with pytest.raises(StatusError) as caught:
        applied(obj, config({"a": "2"}), "yours")
    assert caught.value.code == 409
    assert str(caught.value) == 'Apply failed with 1 conflict: conflict with "mine": .data.a'
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "mine"', "field": ".data.a"}
    assert caught.value.body["details"] == {"causes": [cause]}


def test_several_conflicts_are_listed() -> None:
    obj = applied(config(), config({"a": "1", "b": "1"}))
    with pytest.raises(StatusError) as caught:
        applied(obj, config({"a": "2", "b": "2"}), "yours")
    assert str(caught.value) == 'Apply failed with 2 conflicts: conflicts with "mine":\n- .data.a\n- .data.b'


def test_force_takes_the_field_over() -> None:
    obj = applied(applied(config(), config({"a": "1", "b": "1"})), config({"a": "2"}), "yours", force=True)
    assert obj["data"] == {"a": "2", "b": "1"}
    assert fields_of(obj, "mine") == {"f:data": {"f:b": {}}}
    assert fields_of(obj, "yours") == {"f:data": {"f:a": {}}}


def test_plain_update_takes_what_it_changes_and_conflicts_later() -> None:
    obj = applied(config(), config({"a": "1", "b": "1"}))
    changed = copy.deepcopy(obj)
    changed["data"]["a"] = "2"
    note_update(obj, changed, "kubectl-edit", "", NOW)
    assert fields_of(changed, "mine") == {"f:data": {"f:b": {}}}
    with pytest.raises(StatusError, match=r'conflict with "kubectl-edit" using v1 at 2026-01-02T12:00:00Z: \.data\.a'):
        applied(changed, config({"a": "1", "b": "1"}))


def test_applying_the_same_again_changes_nothing() -> None:
    obj = applied(config(), config({"a": "1"}))
    assert apply(obj, config({"a": "1"}), "mine", "", "2027-01-01T00:00:00Z", force=False) == obj


def test_items_of_merged_lists_have_owners_of_their_own() -> None:
    def pod(*containers: dict[str, str]) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": list(containers)}}

    first = applied(pod(), pod({"name": "a", "image": "1"}))
    both = applied(first, pod({"name": "b", "image": "2"}), "yours")
    assert [container["name"] for container in both["spec"]["containers"]] == ["a", "b"]
    assert fields_of(both, "yours") == {"f:spec": {"f:containers": {'k:{"name":"b"}': {".": {}, "f:image": {}, "f:name": {}}}}}
    without = applied(both, {**pod(), "spec": {"restartPolicy": "Never"}})
    assert without["spec"] == {"containers": [{"name": "b", "image": "2"}], "restartPolicy": "Never"}
