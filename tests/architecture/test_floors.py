# SPDX-License-Identifier: Apache-2.0
"""The floors are written twice, for people and for the linter; both must be the floors of the packages that are there."""

import re
import tomllib
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (\d+) \| ((?:`\w+`(?:, )?)+) \|", re.MULTILINE)


def rooms() -> set[str]:
    """Return the packages and modules right below `podpass`."""
    found = (ROOT / "src/podpass").iterdir()
    return {path.stem for path in found if path.suffix == ".py" or (path / "__init__.py").exists()} - {"__init__"}


def floors_of_the_linter() -> list[set[str]]:
    """Return the floors, the highest first, without rooms that are not built."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = next(each["layers"] for each in settings["tool"]["importlinter"]["contracts"] if each["id"] == "floors")
    floors = [{room for room in re.split(r"\s*\|\s*", layer) if not room.startswith("(")} for layer in layers]
    return [floor for floor in floors if floor]


def floors_of_the_document() -> list[set[str]]:
    """Return the floors of the table, the highest first."""
    rows = ROW.findall((ROOT / "docs/explanation/architecture.md").read_text())
    return [set(re.findall(r"\w+", ",".join(names for _, names in group))) for _, group in groupby(rows, key=lambda row: row[0])]


def test_every_room_that_is_built_stands_on_a_floor_without_parentheses() -> None:
    assert set().union(*floors_of_the_linter()) == rooms()


def test_the_document_has_the_linters_floors() -> None:
    of_the_linter = floors_of_the_linter()
    # One floor to people; the linter wants single files on floors of their own.
    assert of_the_linter[-2:] == [{"clock"}, {"errors"}]
    assert floors_of_the_document() == [*of_the_linter[:-2], {"clock", "errors"}]
