# SPDX-License-Identifier: Apache-2.0
"""An API server on a node that does not say so is not overlooked; a list that is nonsense stops nobody and names nobody."""

from typing import Any

import pytest

from podpass.errors import UnsafePlanError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.machines.census import check_census
from unit.federate.clusters.test_gathering import cluster
from unit.kube.api_server import status

PATH = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
NODES = (Node("cp-1"), Node("cp-2"))


def listed(*addresses: object) -> dict[str, Any]:
    return {PATH: {"endpoints": [{"addresses": [one]} for one in addresses]}}


def test_an_api_server_on_a_node_that_does_not_say_so_stops_a_roll() -> None:
    with cluster(listed("10.0.0.1", "10.0.0.2", "10.0.0.3")) as client, pytest.raises(UnsafePlanError) as refusal:
        check_census(client, NODES)
    assert refusal.value.what == "Nothing was changed: the cluster has 3 API servers, and 2 of its nodes say that they run one."


@pytest.mark.parametrize(
    "prepared",
    [
        listed("10.0.0.1", "10.0.0.2"),
        listed("10.0.0.9"),  # one address for all of them
        listed("10.0.0.1", "10.0.0.1", "10.0.0.1"),
        listed("evil.example", "\x1b]0;x", None, 7, "fe80::1%x"),
        {PATH: {"endpoints": "none"}},
        {PATH: {"endpoints": [{"addresses": "none"}, 7]}},
        {},
        {PATH: status(403, "Forbidden", "no")},
    ],
)
def test_a_list_that_is_no_longer_stops_nobody(prepared: dict[str, Any]) -> None:
    with cluster(prepared) as client:
        check_census(client, NODES)
