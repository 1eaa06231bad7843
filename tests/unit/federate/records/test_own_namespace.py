# SPDX-License-Identifier: Apache-2.0
"""The namespace podpass-system goes with the last thing in it, and stays where nobody knows what is in it."""

from typing import Any

import httpx2
import pytest

from podpass.errors import UnreachableError
from podpass.federate.records.own_namespace import MADE_BY, remove_if_empty
from unit.kube.api_server import cluster, status

OWN = {"metadata": {"name": "podpass-system", "uid": "n-1", "labels": MADE_BY}}
EMPTY: dict[str, Any] = {"items": []}
NO_GROUPS: dict[str, Any] = {"groups": []}
NO_KINDS: dict[str, Any] = {"resources": []}
GONE = status(404, "NotFound", 'namespaces "podpass-system" not found')


def test_an_empty_one_is_deleted() -> None:
    there = cluster(OWN, EMPTY, EMPTY, EMPTY, EMPTY, NO_GROUPS, NO_KINDS, {"status": "Success"}, GONE)
    remove_if_empty(there.client())
    assert there.lines[-2:] == ["DELETE /api/v1/namespaces/podpass-system", "GET /api/v1/namespaces/podpass-system"]
    assert there.bodies[-2]["preconditions"] == {"uid": "n-1"}


DEAD = status(503, "ServiceUnavailable", "the server is currently unable to handle the request")
METRICS = {"groups": [{"preferredVersion": {"groupVersion": f"{name}/v1"}} for name in ("metrics.k8s.io", "apps")]}
DEPLOYMENTS = {"resources": [{"name": "deployments", "namespaced": True, "verbs": ["list", "delete"]}]}


def test_while_an_aggregated_api_is_dead_it_stays_and_the_api_is_named() -> None:
    there = cluster(OWN, EMPTY, EMPTY, EMPTY, EMPTY, METRICS, NO_KINDS, DEAD, DEAD, DEAD, DEAD, DEPLOYMENTS, EMPTY)
    assert remove_if_empty(there.client()) == ("metrics.k8s.io/v1",)
    assert there.lines[-1].startswith("GET /apis/apps/v1/namespaces/podpass-system/deployments")


def test_what_another_api_keeps_there_is_found_beside_a_dead_one() -> None:
    theirs = {"items": [{"metadata": {"name": "theirs"}}]}
    there = cluster(OWN, EMPTY, EMPTY, EMPTY, EMPTY, METRICS, NO_KINDS, DEAD, DEAD, DEAD, DEAD, DEPLOYMENTS, theirs)
    assert remove_if_empty(there.client()) == ()
    assert not any(line.startswith("DELETE") for line in there.lines)


@pytest.mark.parametrize("alive", [[], [METRICS], [METRICS, NO_KINDS]], ids=["no groups", "no kinds", "no answer at all"])
def test_where_the_api_server_itself_gives_no_answer_that_is_told(alive: list[dict[str, Any]]) -> None:
    silent = DEAD if len(alive) < 2 else httpx2.ConnectError("refused")
    there = cluster(OWN, EMPTY, EMPTY, EMPTY, EMPTY, *alive, silent)
    with pytest.raises(UnreachableError, match="All is taken away but the namespace podpass-system") as caught:
        remove_if_empty(there.client())
    assert caught.value.full_code == "neighbour.namespace-unseen"
    assert "Run the command again" in caught.value.next_step
    assert not any(line.startswith("DELETE") for line in there.lines)


def test_who_may_not_look_everywhere_leaves_it() -> None:
    there = cluster(OWN, EMPTY, status(403, "Forbidden", "secrets is forbidden"))
    remove_if_empty(there.client())
    assert len(there.lines) == 3
