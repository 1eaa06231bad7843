# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.sandbox.kubernetes import openapi
from podpass.sandbox.kubernetes.discovery import ALL_KINDS, aggregated, resources


def test_every_group_document_is_listed_with_its_hash() -> None:
    listed = openapi.paths()["paths"]
    assert set(listed) == {"api/v1", *(f"apis/{group}/v1" for group in {kind.group for kind in ALL_KINDS} - {""})}
    assert all("?hash=" in row["serverRelativeURL"] for row in listed.values())


@pytest.mark.parametrize("kind", ALL_KINDS, ids=lambda kind: kind.name)
def test_patch_says_that_the_server_validates(kind: object) -> None:
    row = next(each for each in ALL_KINDS if each is kind)
    document = openapi.document("api/v1" if not row.group else f"apis/{row.group}/v1")
    gvk = {"group": row.group, "version": "v1", "kind": row.name}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    mine = {each["x-kubernetes-action"]: each for each in operations if each["x-kubernetes-group-version-kind"] == gvk}
    wanted = "patch" if "patch" in row.verbs else "post"
    assert "fieldValidation" in {parameter["name"] for parameter in mine[wanted]["parameters"]}


def test_every_reference_leads_somewhere() -> None:
    document = openapi.document("apis/batch/v1")
    schemas = document["components"]["schemas"]
    found = {part.split('"')[0] for part in str(document).replace("'", '"').split("#/components/schemas/")[1:]}
    assert found <= set(schemas)
    assert "io.k8s.api.core.v1.Container" in found


def test_members_are_described_and_typed() -> None:
    container = openapi.document("api/v1")["components"]["schemas"]["io.k8s.api.core.v1.Container"]
    assert container["required"] == ["name"]
    assert container["properties"]["image"]["description"].startswith("Container image name. More info: https://kubernetes.io/docs")
    assert container["properties"]["env"]["x-kubernetes-patch-merge-key"] == "name"


def test_both_forms_of_discovery_say_the_same() -> None:
    rows = aggregated(core=True, version="v2")["items"][0]["versions"][0]["resources"]
    assert {row["resource"]: set(row["verbs"]) for row in rows} == {
        row["name"]: set(row["verbs"]) for row in resources("")["resources"] if "/" not in row["name"]
    }
