# SPDX-License-Identifier: Apache-2.0
"""Stands for talosctl: keeps a machine configuration for each node, and judges what is laid over it as Talos does.

TALOS_STATE/ADDRESS/config.yaml   the configuration; whoever runs the node watches it
TALOS_STATE/ADDRESS/refuse        is there: the node refuses every patch
TALOS_STATE/schema.json           the published schema of the release, where there is one
TALOS_STATE/lists                 is there: an argument may have a list of values (Talos 1.13 and later)
TALOS_STATE/calls                 one line a call: address, words
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import jsonschema
import yaml

STATE = Path(os.environ["TALOS_STATE"])


def main(words: list[str]) -> int:
    address = words[words.index("--nodes") + 1]
    rest = words[words.index("--nodes") + 2 :]
    with (STATE / "calls").open("a") as log:
        log.write(f"{address} {' '.join(word for word in rest if not word.startswith('@'))}\n")
    node = STATE / address
    if rest[:3] == ["get", "machineconfig", "v1alpha1"] and rest[3:] == ["-o", "jsonpath={.spec}"]:
        sys.stdout.write((node / "config.yaml").read_text())
        return 0
    if rest[:2] != ["patch", "machineconfig"]:
        return fail(f"unknown command {rest}")
    if (node / "refuse").exists():
        return fail("rpc error: code = PermissionDenied desc = not authorized")
    patch = Path(rest[rest.index("--patch") + 1].removeprefix("@")).read_text()
    return apply(node, list(yaml.safe_load_all(patch)), dry="--dry-run" in rest)


def apply(node: Path, patches: list[Any], *, dry: bool) -> int:
    documents = list(yaml.safe_load_all((node / "config.yaml").read_text()))
    for patch in patches:
        if not isinstance(patch, dict):
            return fail("JSON6902 patches are not supported for multi-document machine configuration")
        kind = patch.get("kind")
        found = next((one for one in documents if one.get("kind") == kind), None)
        if found is None:
            documents.append(patch)
        else:
            merge(found, patch)
    for document in documents:
        if fault := judge(document):
            return fail(fault)
    if not dry:
        whole = node / "config.yaml.new"
        whole.write_text(yaml.safe_dump_all(documents, sort_keys=False))
        whole.rename(node / "config.yaml")
    return 0


def merge(left: dict[str, Any], right: dict[str, Any]) -> None:
    """Maps are merged, lists appended to; an argument takes the place of the one of its name."""
    for key, value in right.items():
        if key == "extraArgs":
            left[key] = {**left.get(key, {}), **value}
        elif isinstance(value, dict) and isinstance(left.get(key), dict):
            merge(left[key], value)
        elif isinstance(value, list) and isinstance(left.get(key), list):
            left[key] = [*left[key], *value]
        else:
            left[key] = value


def judge(document: dict[str, Any]) -> str:
    server = document.get("cluster", {}).get("apiServer", {}) if not document.get("kind") else document
    if not (STATE / "lists").exists() and any(isinstance(value, list) for value in server.get("extraArgs", {}).values()):
        return "cannot unmarshal !!seq into string"
    if (STATE / "schema.json").exists():
        try:
            jsonschema.Draft202012Validator(json.loads((STATE / "schema.json").read_text())).validate(document)
        except jsonschema.ValidationError as error:
            return f"{error.json_path}: {error.message[:200]}"
    return ""


def fail(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
