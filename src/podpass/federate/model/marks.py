# SPDX-License-Identifier: Apache-2.0
"""How podpass signs what it makes: a mark that names the federation and the cluster.

A mark tells people where a thing comes from, and tells an interrupted `apply` whether the thing that it finds is the one that it had
begun to make. It is no licence to delete: only the receipt is.

Pools, providers and service accounts carry it in `description`, buckets as labels, objects as metadata, config maps as annotations.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_NAME = re.compile("[a-z0-9-]+")
_DESCRIPTION = re.compile(r"Made by podpass: federation (?P<federation>[a-z0-9-]+), cluster (?P<cluster>[a-z0-9-]+)\.")
# Google: a label's value has lower-case letters, digits, - and _. A federation's name is a DNS label, which fits.
_FEDERATION, _CLUSTER = "podpass-federation", "podpass-cluster"
_ANNOTATION_FEDERATION, _ANNOTATION_CLUSTER = "podpass.dev/federation", "podpass.dev/cluster"


@dataclass(frozen=True, slots=True)
class Mark:
    """Whose a thing is.

    Attributes:
        federation: The name in the federation file.
        cluster: The uid of the cluster's namespace kube-system, which lives as long as the cluster and is no secret.
    """

    federation: str
    cluster: str

    @property
    def description(self) -> str:
        """The mark as a sentence, within the 256 characters that Google allows."""
        return f"Made by podpass: federation {self.federation}, cluster {self.cluster}."

    @property
    def labels(self) -> dict[str, str]:
        """The mark as labels of a bucket or metadata of an object."""
        return {_FEDERATION: self.federation, _CLUSTER: self.cluster}

    @property
    def annotations(self) -> dict[str, str]:
        """The mark as annotations of a Kubernetes object."""
        return {_ANNOTATION_FEDERATION: self.federation, _ANNOTATION_CLUSTER: self.cluster}

    @classmethod
    def in_description(cls, text: str | None) -> "Mark | None":
        """Find the mark in a description; None if there is none."""
        found = _DESCRIPTION.search(text or "")
        return cls(found["federation"], found["cluster"]) if found else None

    @classmethod
    def in_labels(cls, labels: Mapping[str, str] | None) -> "Mark | None":
        """Find the mark among labels."""
        return cls._from(labels or {}, _FEDERATION, _CLUSTER)

    @classmethod
    def in_annotations(cls, annotations: Mapping[str, str] | None) -> "Mark | None":
        """Find the mark among annotations."""
        return cls._from(annotations or {}, _ANNOTATION_FEDERATION, _ANNOTATION_CLUSTER)

    @classmethod
    def _from(cls, pairs: Mapping[str, str], federation: str, cluster: str) -> "Mark | None":
        found = cls(pairs.get(federation, ""), pairs.get(cluster, ""))
        # Others may write annotations, and what they write is shown to people.
        return found if _NAME.fullmatch(found.federation) and _NAME.fullmatch(found.cluster) else None

    def signed(self, other: "Mark | None") -> bool:
        """Whether `other`, as it was read, is this mark."""
        return other == self
