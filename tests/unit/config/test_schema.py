# SPDX-License-Identifier: Apache-2.0
"""The schema for editors: current, accepted by a validator, and of one mind with the reader where both speak."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from podpass.config import schema
from podpass.config.reading import load

SCHEMA = json.loads(schema.PATH.read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def example(root: Path) -> dict[str, Any]:
    content = yaml.safe_load((root / "examples/first-article/podpass.yaml").read_text())
    assert isinstance(content, dict)
    return content


def test_the_shipped_schema_is_what_the_declaration_gives() -> None:
    assert schema.PATH.read_text() == schema.render(), "run: python -m podpass.config.schema"


def test_the_schema_is_a_schema() -> None:
    VALIDATOR.check_schema(SCHEMA)


def test_the_examples_are_accepted(request: pytest.FixtureRequest) -> None:
    for file in sorted((request.config.rootpath / "examples").glob("*/podpass.yaml")):
        VALIDATOR.validate(yaml.safe_load(file.read_text()))
        load(file)


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "unknown key": lambda file: file["spec"].update(extra=1),
    "missing key": lambda file: file["spec"]["google"].pop("project"),
    "wrong type": lambda file: file["spec"]["workloads"][0].update(roles="roles/a"),
    "wrong word": lambda file: file["spec"]["issuer"].update(keys="buckets"),
    "out of range": lambda file: file["spec"]["workloads"][0].update(token={"expiration": 599}),
    "wrong kind": lambda file: file.update(kind="Policy"),
    "no workloads": lambda file: file["spec"].update(workloads=[]),
    "nobody's workload": lambda file: file["spec"]["workloads"][0].pop("serviceAccount"),
    "two ways to name one": lambda file: file["spec"]["workloads"][0].update(namespace="default"),
    "a selector of no form": lambda file: file["spec"].update(workloads=[{"selector": {"matchLabels": {"a": "b"}, "atMost": 0}}]),
    "pool id": lambda file: file["spec"]["google"]["pool"].update(id="x"),
    "attribute": lambda file: file["spec"]["google"]["attributeMapping"].update(sub="x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_schema_refuses_what_the_reader_refuses(
    change: Callable[[dict[str, Any]], object], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    content = copy.deepcopy(example(request.config.rootpath))
    change(content)
    file = tmp_path / "podpass.yaml"
    file.write_text(yaml.safe_dump(content))
    assert not VALIDATOR.is_valid(content)
    with pytest.raises(Exception, match="mistake"):
        load(file)


def test_every_key_is_described() -> None:
    def undescribed(node: dict[str, Any], path: str) -> list[str]:
        found = [] if "properties" in node or "description" in node or not path else [path]
        for key, value in node.get("properties", {}).items():
            found += [] if "description" in value else [f"{path}.{key}"]
            found += undescribed(value, f"{path}.{key}")
            found += undescribed(value.get("items", {}), f"{path}.{key}[]") if "properties" in value.get("items", {}) else []
        return found

    assert undescribed(SCHEMA, "") == []


def test_every_key_stands_in_the_reference(request: pytest.FixtureRequest) -> None:
    text = (request.config.rootpath / "docs/reference/federation-file.md").read_text()

    def keys(node: dict[str, Any]) -> set[str]:
        nested = {**node.get("properties", {}), **node.get("items", {}).get("properties", {})}
        return set(nested).union(*(keys(value) for value in nested.values())) if nested else set()

    assert {key for key in keys(SCHEMA) if f"`{key}`" not in text and f".{key}`" not in text and f"{key}:" not in text} == set()
