# SPDX-License-Identifier: Apache-2.0
"""From a file's text to what it says about service accounts. Pure."""

from collections.abc import Callable, Iterator
from typing import Final

import yaml

from podpass.errors import ConfigError
from podpass.federate.clusters.forms import kubeadm, lists, scripts, talos, workloads
from podpass.federate.clusters.statement import Node, Statement, mapping

LIMIT_BYTES: Final = 1024 * 1024
_Reader = Callable[[Node, str], Iterator[Statement]]
# (group of the apiVersion, kind) -> reader. Talos' documents have a version only.
_KINDS: Final[dict[tuple[str, str], _Reader]] = {
    ("v1alpha1", "KubeAPIServerConfig"): talos.read_api_server,
    ("v1alpha1", "KubeServiceAccountConfig"): talos.read_service_account,
    ("kubeadm.k8s.io", "ClusterConfiguration"): kubeadm.read_configuration,
    ("kind.x-k8s.io", "Cluster"): kubeadm.read_kind,
    ("controlplane.cluster.x-k8s.io", "KubeadmControlPlane"): kubeadm.read_control_plane,
    ("v1", "ConfigMap"): kubeadm.read_config_map,
    ("k0s.k0sproject.io", "ClusterConfig"): lists.read_k0s,
    ("kops.k8s.io", "Cluster"): lists.read_kops,
}


def read(content: str, name: str) -> tuple[Statement, ...]:
    """Read a file of any form that podpass knows.

    Args:
        content: Its text.
        name: How it is called, for people.

    Raises:
        ConfigError: Not YAML, or nothing in it is of a form that podpass knows.
    """
    if len(content.encode()) > LIMIT_BYTES:
        raise ConfigError(f"{name} is too large.", f"podpass reads {LIMIT_BYTES} bytes at most.", code="config.too-large")
    if lists.is_arguments_file(content):
        return tuple(lists.read_arguments_file(content, name))
    if content.startswith("#!") or (scripts.is_script(content) and not _is_structured(content)):
        return tuple(scripts.read_script(content, name))
    try:
        documents = [one for one in yaml.safe_load_all(content) if one is not None]
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise ConfigError(f"{where} is not YAML.", getattr(error, "problem", "") or "", code="config.not-yaml") from None
    found = [(document, reader) for document in documents if (reader := _reader_of(document))]
    if not found:
        raise ConfigError(
            f"{name} is of no form that podpass knows.",
            "It looks for Talos, kubeadm, kind, Cluster API, k3s, RKE2, k0s, kops and MicroK8s configurations, for pods, for "
            "federation files, and for scripts that call talosctl.",
            "Name the file that holds the flags of kube-apiserver, or the patch.",
            code="config.unknown-form",
        )
    many = len(documents) > 1
    return tuple(
        statement
        for document, reader in found
        for statement in reader(document, f"{name}, document {documents.index(document) + 1}" if many else name)
    )


def _reader_of(document: object) -> _Reader | None:
    if talos.is_json_patch(document):
        return talos.read_json_patch
    if not isinstance(document, dict):
        return None
    if lists.is_rancher(document):
        return lists.read_rancher
    if talos.is_config(document):
        return talos.read_config
    if workloads.is_workload(document):
        return workloads.read_workload
    return _KINDS.get((str(document.get("apiVersion", "")).partition("/")[0], str(document.get("kind", ""))))


def _is_structured(content: str) -> bool:
    """Whether it is YAML of more than one text: a script is one text, or none."""
    try:
        return any(mapping(one) or isinstance(one, list) for one in yaml.safe_load_all(content))
    except yaml.YAMLError:
        return False


def is_federation(content: str) -> bool:
    """Whether it is a federation file, which is read by `config` with every mistake in it."""
    try:
        return any(mapping(one).get("kind") == "Federation" for one in yaml.safe_load_all(content))
    except (yaml.YAMLError, RecursionError):
        return False
