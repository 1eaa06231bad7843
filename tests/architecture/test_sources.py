# SPDX-License-Identifier: Apache-2.0
"""What holds for every source file."""

import importlib
import pkgutil
from pathlib import Path

import podpass

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
FILE_LIMIT_LINES = 600


def test_every_source_file_names_its_licence_and_explains_itself() -> None:
    faults = [
        str(path)
        for path in SOURCES
        if not (lines := path.read_text().splitlines()) or lines[0] != "# SPDX-License-Identifier: Apache-2.0" or '"""' not in lines[1]
    ]
    assert faults == []


def test_no_source_file_holds_two_ideas() -> None:
    assert [f"{path}: {n}" for path in SOURCES if (n := len(path.read_text().splitlines())) > FILE_LIMIT_LINES] == []


def test_every_module_imports_on_its_own_and_keeps_its_public_names() -> None:
    for module in pkgutil.walk_packages(podpass.__path__, "podpass."):
        if module.name.endswith("__main__"):
            continue
        loaded = importlib.import_module(module.name)
        missing = [name for name in getattr(loaded, "__all__", []) if not hasattr(loaded, name)]
        assert missing == [], module.name


def test_product_knows_no_address_of_the_sandbox() -> None:
    product = [path for path in SOURCES if not {"sandbox", "demo", "cli"} & set(path.relative_to(ROOT / "src/podpass").parts)]
    assert [str(path) for path in product if "PODPASS_SANDBOX" in path.read_text()] == []
