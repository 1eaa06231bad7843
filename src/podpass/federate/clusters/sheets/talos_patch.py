# SPDX-License-Identifier: Apache-2.0
"""Talos' machine configuration through its versions: what a strategic-merge patch of it looks like. Pure.

Source:
    The machine configuration's schemas of 1.7 to 1.14, and its merging: `extraArgs` is replaced flag by flag; lists of documents, as in
    KubeServiceAccountConfig, are appended to, and kube-apiserver does not start when an issuer is given twice.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import yaml

from podpass.errors import ConfigError
from podpass.federate.clusters.distribution import minor_of
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, ServiceAccountFlags

_LISTS_SINCE, _DOCUMENTS_SINCE = 13, 14


class Era(StrEnum):
    """How extra arguments are written."""

    SINGLE = "a flag has one value (Talos 1.12 and before)"
    LISTS = "a flag may have a list of values (Talos 1.13)"
    DOCUMENTS = "kube-apiserver has a document of its own (Talos 1.14 and later)"


def era_of(release: str) -> Era:
    """Return the era of a version of Talos: `1.9.6`.

    Raises:
        ConfigError: This is no version of Talos 1.
    """
    minor = minor_of(release)
    if minor is None:
        raise ConfigError(
            f"{release!r} is no version of Talos that podpass knows.", "It knows 1.7 and later.", "", code="config.talos-version"
        )
    return Era.SINGLE if minor < _LISTS_SINCE else Era.LISTS if minor < _DOCUMENTS_SINCE else Era.DOCUMENTS


def takes_several_issuers(era: Era) -> bool:
    """Whether kube-apiserver can be given more than one issuer."""
    return era is not Era.SINGLE


def patch(flags: ServiceAccountFlags, era: Era, *, has_documents: bool) -> str:
    """Write the patch that brings issuers and audiences, and touches nothing else.

    Args:
        flags: What kube-apiserver is to be told.
        era: Of the node's Talos.
        has_documents: The node's configuration has a KubeAPIServerConfig; before 1.14 there is none.
    """
    several = takes_several_issuers(era)
    issuers: str | list[str] = list(flags.issuers) if several and len(flags.issuers) > 1 else flags.issuers[0]
    arguments = {ISSUER: issuers, API_AUDIENCES: ",".join(flags.api_audiences)}
    if has_documents:
        return _dump([{"apiVersion": "v1alpha1", "kind": "KubeAPIServerConfig", "extraArgs": arguments}])
    return _dump([{"cluster": {"apiServer": {"extraArgs": arguments}}}])


def has_documents(machine_config: str) -> bool:
    """Whether a machine configuration gives kube-apiserver a document of its own."""
    return any(isinstance(one, dict) and one.get("kind") == "KubeAPIServerConfig" for one in yaml.safe_load_all(machine_config))


def _dump(documents: Iterable[Any]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, width=1000)
