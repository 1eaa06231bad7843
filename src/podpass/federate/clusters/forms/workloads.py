# SPDX-License-Identifier: Apache-2.0
"""Pods, and what makes pods: the tokens that they ask for. Pure."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Final

from podpass.federate.clusters.forms.lists import read_command
from podpass.federate.clusters.statement import Node, ProjectedToken, Statement, items, mapping, text

_DEFAULT_S: Final = 3600
_MAKERS: Final = {
    "Pod": (),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    **dict.fromkeys(("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet"), ("spec", "template")),
}


def is_workload(document: Node) -> bool:
    """Whether it is a pod, or makes pods."""
    return document.get("kind") in _MAKERS


def read_workload(document: Node, where: str) -> Iterator[Statement]:
    """Read a pod or what makes pods; a static pod of kube-apiserver is its command line."""
    kind = str(document.get("kind"))
    pod = mapping(document, *_MAKERS[kind])
    name = f"{kind} {mapping(document, 'metadata').get('name', '')}".strip()
    yield Statement(where, name, tokens=tuple(_tokens(pod, name)))
    for container in items(mapping(pod, "spec").get("containers")):
        words = [text(one) for one in (*items(mapping(container).get("command")), *items(mapping(container).get("args")))]
        if words and words[0].rpartition("/")[2] == "kube-apiserver":
            yield read_command(words, where, "command line of kube-apiserver")


def _tokens(pod: Node, name: str) -> Iterator[ProjectedToken]:
    for volume in items(mapping(pod, "spec").get("volumes")):
        for source in items(mapping(volume, "projected").get("sources")):
            if isinstance(source, Mapping) and isinstance(source.get("serviceAccountToken"), Mapping):
                token = source["serviceAccountToken"]
                seconds = text(token.get("expirationSeconds"))
                life = timedelta(seconds=int(seconds) if seconds.isdecimal() else _DEFAULT_S)
                yield ProjectedToken(name, text(token.get("audience")), life)
