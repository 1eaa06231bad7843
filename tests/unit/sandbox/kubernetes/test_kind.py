# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta

import pytest

from podpass.sandbox.kubernetes.kind import age, check_labels, check_name, timestamp
from podpass.sandbox.kubernetes.kinds import CONFIG_MAP, NAMESPACE
from unit.sandbox.kubernetes.api_world import NOON


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (599, "9m59s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600 + 300, "3h5m"),
        (8 * 3600, "8h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (9 * 86400, "9d"),
        (3 * 365 * 86400, "3y"),
    ],
)
def test_ages_are_told_as_kubectl_tells_them(seconds: int, text: str) -> None:
    assert age(timestamp(NOON - timedelta(seconds=seconds)), NOON) == text


@pytest.mark.parametrize("name", ["Foo", "a_b", "-a", "a..b", "a.-b", "a" * 254])
def test_names_that_are_no_subdomains_are_refused(name: str) -> None:
    assert check_name(CONFIG_MAP, name)


@pytest.mark.parametrize("name", ["a.b", "a" * 64, "A"])
def test_namespaces_are_labels(name: str) -> None:
    assert check_name(NAMESPACE, name)
    assert not check_name(NAMESPACE, "a" * 63)


@pytest.mark.parametrize(
    ("key", "value"), [("a b", "x"), ("a/b/c", "x"), ("A/b", "x"), ("a", "x y"), ("a", "-x"), ("a", "x" * 64), ("a" * 64, "")]
)
def test_labels_that_no_cluster_takes_are_refused(key: str, value: str) -> None:
    assert check_labels({key: value})


def test_labels_of_every_allowed_form_pass() -> None:
    assert not check_labels({"app": "", "App_1": "X.y-z_1", "batch.kubernetes.io/job-name": "a" * 63})
