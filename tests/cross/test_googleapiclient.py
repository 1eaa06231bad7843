# SPDX-License-Identifier: Apache-2.0
"""Google's APIs as google-api-python-client builds them from its static discovery documents."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from cross.outside import NUMBER, Outside
from podpass.sandbox.hosting import HostedSandbox

PROGRAM = Path(__file__).parent / "programs/discovered.py"
POOL = f"projects/{NUMBER}/locations/global/workloadIdentityPools/made-by-discovery"


@pytest.fixture(scope="module")
def found(google_side: HostedSandbox, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(Outside(google_side, tmp_path_factory.mktemp("discovered")).does(sys.executable, str(PROGRAM)))
    return told


def test_pools_are_made_changed_by_mask_and_refused_in_google_s_words(found: dict[str, Any]) -> None:
    pools = found["pools"]
    assert pools["created"] == POOL
    assert (pools["changed"]["name"], pools["changed"]["displayName"]) == (POOL, "Changed")
    assert "disabled" not in pools["changed"]
    assert pools["again"] == [409, "Requested entity already exists"]
    assert pools["missing"][0] == 404


def test_a_project_s_policy_is_read_written_and_kept_from_a_stale_writer(found: dict[str, Any]) -> None:
    assert found["project_policy"] == {"name": f"projects/{NUMBER}", "roles": ["roles/browser", "roles/owner"], "stale": 409}


def test_objects_of_every_size_come_back_by_either_upload(found: dict[str, Any]) -> None:
    objects = found["objects"]
    assert objects["same"]
    assert sorted(objects["sizes"]) == [0, 7, 256 * 2048]
    assert objects["folders"] == ["False/", "True/"]
    assert objects["full"] == [409, "The bucket you tried to delete is not empty."]


def test_services_are_enabled_and_listed(found: dict[str, Any]) -> None:
    assert {"iam.googleapis.com", "sts.googleapis.com"} <= set(found["services"])


def test_groups_are_found_with_everybody_who_is_in_them(found: dict[str, Any]) -> None:
    assert found["groups"] == {
        "email": "team@example.com",
        "has": {"hasMembership": True},
        "of": ["inner@example.com", "team@example.com"],
        "members": ["DIRECT", "INDIRECT"],
        "missing": 403,
    }


def test_a_service_is_made_once_and_deleted(found: dict[str, Any]) -> None:
    run = found["cloud_run"]
    assert run["url"].startswith("https://found-")
    assert run["url"].endswith("-ew.a.run.app")
    assert (run["again"], run["left"]) == ([409, "Resource 'found' already exists."], [])
