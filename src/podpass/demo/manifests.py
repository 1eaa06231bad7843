# SPDX-License-Identifier: Apache-2.0
"""A folder of manifests, applied and deleted: by kubectl where it is there, else over the same API.

`read` knows as much of kustomize as the demo's folder uses, and refuses the rest.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from podpass.demo import cluster
from podpass.demo.story import StoryError
from podpass.kube.client import KubeClient, Request
from podpass.kube.fault import FaultKind, KubeRefusedError

Json = dict[str, Any]

_KNOWN: Final = {"apiVersion", "kind", "resources", "generatorOptions", "configMapGenerator"}
_KNOWN_OF_MAPS: Final = {"name", "namespace", "files", "envs"}
# kustomize's order, as far as it matters here: what others need comes first.
_ORDER: Final = ("Namespace", "ServiceAccount", "Role", "RoleBinding", "ClusterRoleBinding", "ConfigMap", "Pod")
_OLDEST_KUBECTL: Final = (1, 29)  # older ones read only what the sandbox's API server does not have


def kubectl() -> str | None:
    """Return kubectl; None where there is none that can speak to the sandbox."""
    program = shutil.which("kubectl")
    if program is None:
        return None
    done = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=False)  # noqa: S603 - found on PATH
    found = re.search(r"v(\d+)\.(\d+)\.", done.stdout)
    return program if found and (int(found[1]), int(found[2])) >= _OLDEST_KUBECTL else None


def apply(client: KubeClient, folder: Path) -> list[str]:
    """Make everything in a folder that is not there yet, and bring its config maps up to date; return a line for each object."""
    if program := kubectl():
        return _run(program, "apply", "-k", str(folder))
    return [make(client, manifest) for manifest in read(folder)]


def delete(client: KubeClient, folder: Path) -> list[str]:
    """Delete everything in a folder and wait until it has gone; return a line for each object."""
    if program := kubectl():
        return _run(program, "delete", "-k", str(folder), "--ignore-not-found")
    manifests = read(folder)
    for manifest in reversed(manifests):
        if manifest["kind"] == "Namespace":  # the last, and what is in it goes with it
            cluster.delete_namespace(client, manifest["metadata"]["name"])
        elif "namespace" not in manifest["metadata"]:
            client.call(Request("DELETE", _path(manifest), f"delete {_label(manifest)}"))
    return [f"{_label(manifest)} deleted" for manifest in manifests]


def read(folder: Path) -> list[Json]:
    """Return the objects of a folder with a kustomization, as `kubectl kustomize` would.

    Raises:
        StoryError: The kustomization asks for more than is known here.
    """
    asked: Json = yaml.safe_load((folder / "kustomization.yaml").read_text())
    maps = asked.get("configMapGenerator") or []
    unknown = asked.keys() - _KNOWN | {key for each in maps for key in each.keys() - _KNOWN_OF_MAPS}
    if unknown or asked.get("generatorOptions") != {"disableNameSuffixHash": True}:
        cure = "Install kubectl: https://kubernetes.io/docs/tasks/tools/."
        raise StoryError(f"{folder}/kustomization.yaml has keys that only kubectl reads.", f"{', '.join(sorted(unknown))}.", cure)
    manifests = [manifest for name in asked["resources"] for manifest in yaml.safe_load_all((folder / name).read_text())]
    manifests += [_config_map(folder, each) for each in maps]
    return sorted(manifests, key=lambda manifest: _ORDER.index(manifest["kind"]))


def _config_map(folder: Path, asked: Json) -> Json:
    data = {name: (folder / name).read_text() for name in asked.get("files") or ()}
    data |= {name: value for file in asked.get("envs") or () for name, value in _variables(folder / file)}
    metadata = {"name": asked["name"], "namespace": asked["namespace"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def _variables(file: Path) -> Iterator[tuple[str, str]]:
    for line in file.read_text().splitlines():
        name, found, value = line.partition("=")
        if found and not line.startswith("#"):
            yield name, value


def make(client: KubeClient, manifest: Json) -> str:
    """Make an object unless there is one of its name; return a line about it."""
    path = _path(manifest).rpartition("/")[0]
    try:
        client.call(Request("POST", path, f"make {_label(manifest)}", body=manifest))
    except KubeRefusedError as error:
        if error.kind is not FaultKind.ALREADY_EXISTS:
            raise
        return f"{_label(manifest)} {'configured' if _renew(client, manifest) else 'unchanged'}"
    return f"{_label(manifest)} created"


def _renew(client: KubeClient, manifest: Json) -> bool:
    """Give a config map the data of its manifest; return whether it had others."""
    if manifest["kind"] != "ConfigMap":
        return False
    path = _path(manifest)
    found = client.call(Request("GET", path, f"read {_label(manifest)}"))
    if found.get("data") == manifest["data"]:
        return False
    client.call(Request("PUT", path, f"change {_label(manifest)}", body={**found, "data": manifest["data"]}))
    return True


def _path(manifest: Json) -> str:
    version, metadata = manifest["apiVersion"], manifest["metadata"]
    parts = ["", "apis" if "/" in version else "api", version]
    parts += ["namespaces", metadata["namespace"]] if "namespace" in metadata else []
    return "/".join([*parts, f"{manifest['kind'].lower()}s", metadata["name"]])


def _label(manifest: Json) -> str:
    """Name an object as kubectl does."""
    group = manifest["apiVersion"].rpartition("/")[0]
    return f"{manifest['kind'].lower()}{f'.{group}' if group else ''}/{manifest['metadata']['name']}"


def _run(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - kubectl, found on PATH
    if done.returncode:
        words = " ".join(done.stderr.split())
        raise StoryError(
            f"kubectl {command[1]} ended with {done.returncode}.", words, "Please report it, with everything that was printed."
        )
    return done.stdout.splitlines()
