# SPDX-License-Identifier: Apache-2.0
from typing import Any

import pytest

from podpass.sandbox.kubernetes.patch import json_patch, merge_patch, strategic_merge_patch
from podpass.sandbox.kubernetes.status import StatusError

Json = dict[str, Any]


@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [  # RFC 7386, appendix A
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch(target: Json, patch: Json, result: Json) -> None:
    assert merge_patch(target, patch) == result


TWO = {"containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "x"}]}, {"name": "b", "image": "1"}]}


@pytest.mark.parametrize(
    ("patch", "result"),
    [
        pytest.param(
            {"containers": [{"name": "b", "image": "2"}]},
            {"containers": [TWO["containers"][0], {"name": "b", "image": "2"}]},
            id="an item is found by its key",
        ),
        pytest.param({"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [TWO["containers"][1]]}, id="an item goes"),
        pytest.param(
            {"containers": [{"$patch": "replace"}, {"name": "c", "image": "3"}]},
            {"containers": [{"name": "c", "image": "3"}]},
            id="a list is replaced",
        ),
        pytest.param(
            {"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}], "containers": [{"name": "c", "image": "3"}]},
            {"containers": [{"name": "c", "image": "3"}, TWO["containers"][1], TWO["containers"][0]]},
            id="items are put in order",
        ),
        pytest.param(
            {"containers": [{"name": "a", "env": [{"name": "X", "value": None}, {"name": "Y", "value": "y"}]}]},
            {"containers": [{"name": "a", "image": "1", "env": [{"name": "X"}, {"name": "Y", "value": "y"}]}, TWO["containers"][1]]},
            id="lists in items are merged too",
        ),
        pytest.param({"containers": None}, {}, id="a null takes the whole away"),
        pytest.param({"$patch": "replace", "volumes": []}, {"volumes": []}, id="an object is replaced"),
    ],
)
def test_strategic_merge_patch(patch: Json, result: Json) -> None:
    assert strategic_merge_patch(TWO, patch) == result


def test_strategic_merge_patch_unites_and_empties_sets_of_plain_values() -> None:
    target = {"finalizers": ["a", "b"]}
    assert strategic_merge_patch(target, {"finalizers": ["b", "c"]}) == {"finalizers": ["a", "b", "c"]}
    assert strategic_merge_patch(target, {"$deleteFromPrimitiveList/finalizers": ["a"]}) == {"finalizers": ["b"]}


def test_strategic_merge_patch_keeps_only_what_it_is_told_to_retain() -> None:
    target = {"name": "v", "emptyDir": {}}
    assert strategic_merge_patch(target, {"$retainKeys": ["name", "secret"], "secret": {"secretName": "s"}}) == {
        "name": "v",
        "secret": {"secretName": "s"},
    }


def test_strategic_merge_patch_leaves_its_target_alone() -> None:
    target = {"containers": [{"name": "a", "image": "1"}]}
    strategic_merge_patch(target, {"containers": [{"name": "a", "image": "2"}]})
    assert target == {"containers": [{"name": "a", "image": "1"}]}


def test_item_without_its_merge_key_is_400() -> None:
    with pytest.raises(StatusError, match="does not contain declared merge key: name"):
        strategic_merge_patch(TWO, {"containers": [{"image": "2"}]})


def test_json_patch_whose_test_fails_is_422() -> None:
    assert json_patch({"a": 1}, [{"op": "add", "path": "/b", "value": 2}]) == {"a": 1, "b": 2}
    for operation in ({"op": "test", "path": "/a", "value": 2}, {"op": "remove", "path": "/c"}, {"op": "none", "path": "/a"}):
        with pytest.raises(StatusError, match="the server rejected our request due to an error in our request"):
            json_patch({"a": 1}, [operation])
