# SPDX-License-Identifier: Apache-2.0
"""What a move of the issuer has to know of pods: whom their tokens are for, and whether a list of providers reaches them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from podpass.config.federation import CredentialsSettings, TokenSettings, Workload
from podpass.federate.rotation.issuer.pods import Pod, asking_for, first_renewal, out_of_reach
from podpass.names import ServiceAccountRef

ACCOUNT = ServiceAccountRef("shop", "checkout")
WORKLOAD = Workload(ACCOUNT, credentials=CredentialsSettings("checkout-sts"))
AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/cluster"
TOKEN = {"name": "token", "projected": {"sources": [{"serviceAccountToken": {"audience": AUDIENCE, "path": "token"}}]}}


def pod(*volumes: dict[str, Any], mounts: tuple[dict[str, Any], ...] = ()) -> Pod:
    containers = [{"name": "main", "volumeMounts": list(mounts)}]
    metadata = {"namespace": "shop", "name": "checkout-0", "creationTimestamp": "2026-11-22T08:00:00Z"}
    return Pod.of({"metadata": metadata, "spec": {"serviceAccountName": "checkout", "volumes": list(volumes), "containers": containers}})


def test_a_pod_tells_whom_its_tokens_are_for_and_since_when_it_is_there() -> None:
    seen = pod(TOKEN, {"name": "api", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}, {"downwardAPI": {}}]}})
    assert (seen.name, seen.account, seen.started_at) == ("shop/checkout-0", ACCOUNT, datetime(2026, 11, 22, 8, tzinfo=UTC))
    assert asking_for([seen, pod()], [AUDIENCE]) == ["shop/checkout-0"]
    assert asking_for([seen], ["//else"]) == []


WHOLE = {"name": "sts", "configMap": {"name": "checkout-sts"}}
ONE_KEY = {"name": "sts", "configMap": {"name": "checkout-sts", "items": [{"key": "config", "path": "config"}]}}
BOTH_KEYS = {"name": "sts", "configMap": {"name": "checkout-sts", "items": [{"key": "config"}, {"key": "config.providers"}]}}
PROJECTED = {"name": "sts", "projected": {"sources": [{"configMap": {"name": "checkout-sts", "items": [{"key": "config"}]}}]}}
OTHER = {"name": "sts", "configMap": {"name": "else", "items": [{"key": "config"}]}}
PINNED = ({"name": "sts", "mountPath": "/etc/config", "subPath": "config"},)


@pytest.mark.parametrize(
    ("volume", "mounts", "is_left_behind"),
    [(WHOLE, (), False), (ONE_KEY, (), True), (BOTH_KEYS, (), False), (PROJECTED, (), True), (OTHER, (), False), (WHOLE, PINNED, True)],
    ids=["whole", "one key", "both keys", "projected", "another config map", "subPath"],
)
def test_a_config_map_that_is_mounted_in_part_brings_no_list(
    volume: dict[str, Any], mounts: tuple[dict[str, Any], ...], *, is_left_behind: bool
) -> None:
    assert bool(out_of_reach([pod(volume, mounts=mounts)], [WORKLOAD])) is is_left_behind


@pytest.mark.parametrize(("life", "first"), [(3600, 2880), (86_400, 69_120), (172_800, 86_400)])
def test_kubelet_renews_at_80_percent_of_a_life_and_after_a_day_at_the_latest(life: int, first: int) -> None:
    workload = Workload(ACCOUNT, token=TokenSettings(timedelta(seconds=life)))
    assert first_renewal(workload) == timedelta(seconds=first)
