# SPDX-License-Identifier: Apache-2.0
"""What is served, for clients to find out: the lists of groups and resources, plain and aggregated, and the version."""

import platform
from typing import Any, Final

from podpass.sandbox.kubernetes.kind import Kind
from podpass.sandbox.kubernetes.kinds import KINDS
from podpass.sandbox.kubernetes.reviews import REVIEWS

ALL_KINDS: Final = (*KINDS, *REVIEWS)
GROUPS: Final = tuple(sorted({kind.group for kind in ALL_KINDS} - {""}))
# What the kinds here follow: kubectl warns of servers that are more than one minor version away.
GIT_VERSION: Final = "v1.36.0+podpass"


def version() -> dict[str, str]:
    """Return the document at /version."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": "1",
        "minor": GIT_VERSION.split(".")[1],
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation(),
        "platform": f"{platform.system().lower()}/{machine}",
    }


def kinds_in(group: str) -> list[Kind]:
    """Return the kinds of a group, reviews among them."""
    return [kind for kind in ALL_KINDS if kind.group == group]


def api_versions(address: str) -> dict[str, Any]:
    """Return the plain document at /api."""
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def api_group(name: str) -> dict[str, Any]:
    """Return the plain document at /apis/GROUP."""
    served = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [served], "preferredVersion": served}


def api_groups() -> dict[str, Any]:
    """Return the plain document at /apis."""
    groups = [{name: value for name, value in api_group(group).items() if name not in {"kind", "apiVersion"}} for group in GROUPS]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def resources(group: str) -> dict[str, Any]:
    """Return the plain document at /api/v1 or /apis/GROUP/v1."""
    rows = []
    for kind in kinds_in(group):
        row = {
            "name": kind.plural,
            "singularName": kind.name.lower(),
            "namespaced": kind.namespaced,
            "kind": kind.name,
            "verbs": kind.verbs,
        }
        more = {"shortNames": kind.short_names, "categories": kind.categories}
        rows.append(row | {name: value for name, value in more.items() if value})
        for name, sub_kind, verbs in kind.subresources:
            rows.append(
                {"name": f"{kind.plural}/{name}", "singularName": "", "namespaced": kind.namespaced, "kind": sub_kind, "verbs": verbs}
            )
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/v1" if group else "v1", "resources": rows}


def aggregated(*, core: bool, version: str) -> dict[str, Any]:
    """Return all groups with their resources in one document, as kubectl asks for at /api and /apis.

    Args:
        core: Whether it is the group without name, at /api.
        version: `v2` or `v2beta1`.
    """
    items = []
    for group in ("",) if core else GROUPS:
        row = {"version": "v1", "resources": [_aggregated(kind) for kind in kinds_in(group)], "freshness": "Current"}
        items.append({"metadata": {"name": group, "creationTimestamp": None} if group else {"creationTimestamp": None}, "versions": [row]})
    return {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}, "items": items}


def _aggregated(kind: Kind) -> dict[str, Any]:
    subresources = [
        {"subresource": name, "responseKind": {"group": "", "version": "", "kind": sub_kind}, "verbs": verbs}
        for name, sub_kind, verbs in kind.subresources
    ]
    row = {
        "resource": kind.plural,
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.name},
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.name.lower(),
        "verbs": kind.verbs,
    }
    more = {"shortNames": kind.short_names, "categories": kind.categories, "subresources": subresources}
    return row | {name: value for name, value in more.items() if value}
