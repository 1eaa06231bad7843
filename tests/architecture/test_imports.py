# SPDX-License-Identifier: Apache-2.0
"""The floors are the linter's to check; here is what it has no word for: inside a room, too, files import one way."""

from graphlib import CycleError, TopologicalSorter

import grimp  # what import-linter itself stands on


def circle_of(imports: dict[str, set[str]]) -> list[str]:
    """Return one circle of files that import each other, or nothing."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1]
        return circle
    return []


def test_no_two_files_import_each_other_typing_and_late_imports_counted() -> None:
    graph = grimp.build_graph("podpass", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert "podpass.config.reading" in imports["podpass.cli.session"], "imports inside functions are in the graph"
    assert circle_of(imports) == []


def test_a_circle_is_seen() -> None:
    assert set(circle_of({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}})) == {"a", "b", "c"}
