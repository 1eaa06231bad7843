# SPDX-License-Identifier: Apache-2.0
"""What is kept of a rotation, and what of it is believed."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from podpass.errors import ConfigError, UnexpectedAnswerError
from podpass.federate.rotation.key.ledger import KeyLedger
from podpass.federate.rotation.key.rotation import Rotation
from podpass.kube.fault import KubeRefusedError
from unit.kube.api_server import cluster, status

MADE = datetime(2026, 11, 22, 8, tzinfo=UTC)
STATE = Rotation.begin({"old"}, "old", timedelta(hours=24)).announced("new").stepped().switched(MADE + timedelta(hours=1))
CONFLICT = status(409, "Conflict", "the object has been modified")
A, B = "https://10.0.0.1:6443", "https://10.0.0.2:6443"


def kept(state: Rotation = STATE, *, version: str = "7", servers: str | None = None) -> dict[str, Any]:
    metadata = {"name": "rotation-shop", "namespace": "podpass-system", "uid": "u-1", "resourceVersion": version}
    data = {"rotation.json": state.to_text(), **({} if servers is None else {"servers.json": servers})}
    return {"metadata": {**metadata, "creationTimestamp": "2026-11-22T08:00:00Z"}, "data": data}


def test_a_switch_before_the_rotation_began_counts_from_its_beginning() -> None:
    forged = replace(STATE, switched_at=datetime(2001, 1, 1, tzinfo=UTC))
    assert KeyLedger(cluster(kept(forged)).client(), "shop").read() == replace(STATE, switched_at=MADE)
    assert KeyLedger(cluster(kept()).client(), "shop").read() == STATE


def test_a_config_map_that_nobody_has_dated_is_not_believed() -> None:
    undated = kept()
    undated["metadata"].pop("creationTimestamp")
    with pytest.raises(UnexpectedAnswerError, match="has no creationTimestamp"):
        KeyLedger(cluster(undated).client(), "shop").read()


def test_a_server_that_was_met_is_kept_at_once_and_once() -> None:
    there = cluster(kept(), kept(version="8", servers=json.dumps([A])))
    ledger = KeyLedger(there.client(), "shop")
    ledger.read()
    ledger.met({A})
    ledger.met({A})
    ledger.met(set())
    assert ledger.servers == {A}
    assert [line.split()[0] for line in there.lines] == ["GET", "PUT"]
    assert json.loads(there.bodies[1]["data"]["servers.json"]) == [A]
    assert there.bodies[1]["data"]["rotation.json"] == STATE.to_text()


def test_servers_are_read_again_and_go_with_every_state() -> None:
    there = cluster(kept(servers=json.dumps([A, B])))
    ledger = KeyLedger(there.client(), "shop")
    ledger.read()
    ledger.lost([B])
    ledger.write(STATE.stepped())
    assert ledger.servers == {A}
    assert json.loads(there.bodies[1]["data"]["servers.json"]) == [A]


def test_a_server_that_the_rotation_never_met_cannot_be_given_up() -> None:
    ledger = KeyLedger(cluster(kept(servers=json.dumps([A]))).client(), "shop")
    ledger.read()
    with pytest.raises(ConfigError, match=r"has met no API server https://10\.0\.0\.2:6443\. It has met https://10\.0\.0\.1:6443\."):
        ledger.lost([B])


def test_a_list_of_servers_without_end_is_not_kept() -> None:
    there = cluster(kept(servers=json.dumps([A])))
    ledger = KeyLedger(there.client(), "shop")
    ledger.read()
    with pytest.raises(UnexpectedAnswerError, match="lists 100 API servers, 101 with those"):
        ledger.met([f"https://10.1.0.{number}:6443" for number in range(100)])
    assert ledger.servers == {A}
    assert len(there.asked) == 1


@pytest.mark.parametrize("text", ["", "{}", "[1]", '["x"]', '["https://a\\u001b[2J"]', json.dumps([f"https://{n}" for n in range(101)])])
def test_servers_that_nobody_can_have_met_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="does not say which API servers the rotation has met"):
        KeyLedger(cluster(kept(servers=text)).client(), "shop").read()


def test_a_write_whose_answer_was_lost_is_known_again() -> None:
    after = kept(STATE.stepped(), version="8", servers="[]")
    there = cluster(kept(), httpx2.ReadError("lost"), CONFLICT, after, after)
    ledger = KeyLedger(there.client(), "shop")
    ledger.read()
    with pytest.raises(Exception, match="gave no answer"):
        ledger.write(STATE.stepped())
    ledger.write(STATE.stepped())
    ledger.write(STATE.stepped().stepped())
    assert there.bodies[-1]["metadata"]["resourceVersion"] == "8"


def test_a_beginning_whose_answer_was_lost_is_known_again_and_somebody_else_s_is_not() -> None:
    taken = status(409, "AlreadyExists", 'configmaps "rotation-shop" already exists')
    ledger = KeyLedger(cluster(taken, kept(servers="[]")).client(), "shop")
    ledger.write(STATE)
    with pytest.raises(KubeRefusedError, match="AlreadyExists"):
        KeyLedger(cluster(taken, kept(STATE.stepped(), servers="[]")).client(), "shop").write(STATE)


def test_what_somebody_else_has_written_is_not_overwritten() -> None:
    there = cluster(kept(), CONFLICT, kept(version="8"))
    ledger = KeyLedger(there.client(), "shop")
    ledger.read()
    with pytest.raises(KubeRefusedError, match="Conflict"):
        ledger.write(STATE.stepped())
