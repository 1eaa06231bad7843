# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.errors import ConfigError
from podpass.names.labels import LabelSelector, Requirement, check_label_key, check_label_value
from podpass.sandbox.kubernetes.selectors import label_test

IN, NOT_IN = Requirement("a", "In", ("b", "c")), Requirement("a", "NotIn", ("b",))
EXISTS, ABSENT = Requirement("a", "Exists"), Requirement("a", "DoesNotExist")


@pytest.mark.parametrize("labels", [{}, {"a": "b"}, {"a": "c"}, {"a": ""}, {"x": "b"}], ids=str)
@pytest.mark.parametrize("requirement", [IN, NOT_IN, EXISTS, ABSENT, Requirement("a", "In", ("b",))], ids=str)
def test_a_requirement_judges_as_the_api_server_does_by_the_text_that_it_is_sent(requirement: Requirement, labels: dict[str, str]) -> None:
    judged_there = label_test(str(LabelSelector((requirement,))))({"metadata": {"labels": labels}})
    assert requirement.holds(labels) is judged_there


def test_all_requirements_have_to_hold() -> None:
    selector = LabelSelector.of({"app": "shop"}, (NOT_IN,))
    assert str(selector) == "app=shop,a notin (b)"
    assert list(selector.keys()) == ["app", "a"]
    assert selector.holds({"app": "shop"})
    assert not selector.holds({"app": "shop", "a": "b"})
    assert not selector.holds({"a": "c"})


@pytest.mark.parametrize(
    ("selector", "taken"),
    [
        (LabelSelector(), True),
        (LabelSelector((NOT_IN, ABSENT)), True),
        (LabelSelector((NOT_IN, EXISTS)), False),
        (LabelSelector((IN,)), False),
    ],
)
def test_who_bears_no_label_is_meant_by_what_demands_none(selector: LabelSelector, taken: bool) -> None:  # noqa: FBT001 - a row
    assert selector.takes_unlabelled is taken


@pytest.mark.parametrize("key", ["a", "A_b.c-d", "example.com/a", f"{'a' * 253}/{'b' * 63}"])
def test_keys_that_kubernetes_takes(key: str) -> None:
    assert check_label_key(key) == key


@pytest.mark.parametrize(
    "key", ["", "a b", "-a", "a-", "a/b/c", "/a", "a/", "Example.com/a", "a" * 64, f"{'a' * 254}/b", "a\n", "ä", "a,b", "!a"]
)
def test_keys_that_kubernetes_refuses(key: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the key of a label"):
        check_label_key(key)


@pytest.mark.parametrize("value", ["", "a", "1", "A_b.c-d", "a" * 63])
def test_values_that_kubernetes_takes(value: str) -> None:
    assert check_label_value(value) == value


@pytest.mark.parametrize("value", [" ", "a b", "-a", "a/b", "a" * 64, "a\n", "a)", "a,b=c", "ä"])
def test_values_that_kubernetes_refuses(value: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the value of a label"):
        check_label_value(value)
