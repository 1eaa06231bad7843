# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - the lines are what the reader sees, whole
from datetime import timedelta

import pytest

from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.rotation.key.single_key import Report, renewed_within, report

HOUR = timedelta(hours=1)
CONTROL = {"node-role.kubernetes.io/control-plane": ""}


def cluster(*images: str) -> Evidence:
    return Evidence("", "", nodes=tuple(Node(f"cp-{number}", image, labels=CONTROL) for number, image in enumerate(images)))


@pytest.mark.parametrize(
    "images",
    [(), ("Ubuntu 24.04",), ("Talos (v1.14.0)",), ("Talos (v1.14.0-rc.1)", "Talos (v1.15.2)"), ("Talos (v2.0.0)",)],
    ids=str,
)
def test_who_can_have_several_keys_or_does_not_say_is_told_nothing(images: tuple[str, ...]) -> None:
    assert report(cluster(*images), HOUR, ()) is None


@pytest.mark.parametrize("images", [("Talos (v1.13.9)",), ("Talos (v1.14.0)", "Talos (v1.9.6)", "Talos (v1.14.0)")], ids=str)
def test_the_oldest_node_decides(images: tuple[str, ...]) -> None:
    found = report(cluster(*images), HOUR, ())
    assert found
    assert (found.servers, found.release) == (len(images), images[min(1, len(images) - 1)][8:-1])


def test_kubelet_renews_at_eighty_percent_or_after_a_day() -> None:
    slack = timedelta(seconds=150)
    assert renewed_within(HOUR) == timedelta(minutes=48) + slack
    assert renewed_within(timedelta(days=365)) == timedelta(days=1) + slack


def said(found: Report) -> list[str]:
    return [str(one) for one in found.refusals()]


def test_each_refusal_says_who_refuses_what_from_when_and_for_how_long() -> None:
    assert said(Report("1.13.9", 3, timedelta(hours=6), ("kube-system/ci-token",))) == [
        "API servers that have restarted and those that have not: each refuses what the other signs, from the first restart on; until the last one.",
        "API servers: every token of the old key, of system pods and controllers too, each from its restart on; a running pod has another one 51 minutes after the last restart at the latest, a restarted pod at once.",
        "Google: every token of the new key, from the first that is signed; until `podpass keys sync`.",
        "Google: every token of the old key, from `podpass keys sync` on; a running workload has another one 4.8 h after the last restart at the latest, a restarted one at once.",
        "Services that verify the cluster's tokens themselves: every token of the old key, as soon as they have read the keys anew; as Google: 4.8 h for a token of that life.",
        "Everybody: tokens in Secrets (kube-system/ci-token), and those that somebody asked for outside of pods, for good; made anew.",
    ]


def test_one_server_differs_from_nobody_and_secrets_that_cannot_be_listed_are_said_so() -> None:
    lines = said(Report("1.9.6", 1, HOUR, None))
    assert not any("those that have not" in line for line in lines)
    assert "Secrets (they cannot be listed)" in lines[-1]
