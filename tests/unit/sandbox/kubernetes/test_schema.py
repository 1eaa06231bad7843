# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest
from lightkube.models.batch_v1 import Job
from lightkube.models.core_v1 import ConfigMap, Pod

from podpass.sandbox.kubernetes.schema import Model, SchemaError, parse, read
from podpass.sandbox.kubernetes.status import StatusError


def test_unknown_and_repeated_members_are_all_named() -> None:
    body = parse(b'{"metadata": {"name": "a", "name": "b", "nome": 1}, "data": {"k": "1", "k": "2"}, "date": {}}')
    with pytest.raises(SchemaError) as caught:
        read(body, ConfigMap, "Strict")
    assert str(caught.value) == (
        'strict decoding error: duplicate field "metadata.name", unknown field "metadata.nome", '
        'duplicate field "data.k", unknown field "date"'
    )


def test_yaml_tells_the_same_as_json_and_makes_no_dates() -> None:
    body = parse(b"metadata: {name: a, name: b}\ndata: {day: 2026-01-02}\n")
    with pytest.raises(SchemaError, match=r'duplicate field "metadata.name"'):
        read(body, ConfigMap, "Strict")
    assert body["data"] == {"day": "2026-01-02"}


def test_places_in_lists_are_told() -> None:
    body: dict[str, Any] = {"spec": {"template": {"spec": {"containers": [{"name": "a"}, {"name": "b", "imagee": "x"}]}}}}
    with pytest.raises(SchemaError, match=r'unknown field "spec.template.spec.containers\[1\].imagee"'):
        read(body, Job, "Strict")


def test_without_strictness_unknown_members_are_dropped_and_warned_of_or_not() -> None:
    body = {"metadata": {"name": "a"}, "foo": 1}
    assert read(body, ConfigMap, "Warn").warnings == ['unknown field "foo"']
    assert read(body, ConfigMap, "Ignore").warnings == []
    assert read(body, ConfigMap, "Warn").value == {"metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("model", "body", "sentence"),
    [
        (ConfigMap, {"data": {"a": 1}}, "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"),
        (ConfigMap, {"data": []}, "json: cannot unmarshal array into Go struct field ConfigMap.data of type map[string]string"),
        (ConfigMap, {"immutable": "yes"}, "json: cannot unmarshal string into Go struct field ConfigMap.immutable of type bool"),
        (
            Job,
            {"spec": {"backoffLimit": "6"}},
            "json: cannot unmarshal string into Go struct field JobSpec.spec.backoffLimit of type int32",
        ),
        (Pod, {"spec": {"containers": {}}}, "json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type"),
        (Pod, {"spec": True}, "json: cannot unmarshal bool into Go struct field Pod.spec of type PodSpec"),
        (Pod, {"spec": {"priority": True}}, "json: cannot unmarshal bool into Go struct field PodSpec.spec.priority of type int32"),
        (
            Pod,
            {"metadata": {"creationTimestamp": 3}},
            "cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type v1.Time",
        ),
    ],
)
def test_wrong_type_is_refused_in_go_words(model: Model, body: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SchemaError) as caught:
        read(body, model, "Ignore")
    assert sentence in str(caught.value)


def test_required_members_are_named_and_nulls_are_absent() -> None:
    reading = read({"metadata": {"creationTimestamp": None}, "spec": {"containers": [{"image": "x"}]}}, Pod, "Strict")
    assert [cause.field for cause in reading.causes] == ["spec.containers[0].name"]
    assert reading.value["metadata"] == {}


def test_quantities_may_be_numbers_and_ports_names() -> None:
    container = {"name": "a", "resources": {"limits": {"cpu": 1}}, "livenessProbe": {"httpGet": {"port": "http"}}}
    value = read({"spec": {"containers": [container]}}, Pod, "Strict").value
    assert value["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"{", b"a: b: c", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_object_is_400(body: bytes) -> None:
    with pytest.raises(StatusError) as caught:
        parse(body)
    assert caught.value.code == 400
