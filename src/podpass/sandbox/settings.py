# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is told when it is made; two of the values can be changed while it runs."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

KeyType = Literal["rsa2048", "rsa4096", "p256"]

# The APIs that this universe has; all are on in its projects unless `disabled_apis` names them.
APIS = (
    "cloudidentity.googleapis.com",
    "cloudresourcemanager.googleapis.com",
    "iam.googleapis.com",
    "iamcredentials.googleapis.com",
    "run.googleapis.com",
    "serviceusage.googleapis.com",
    "storage.googleapis.com",
    "sts.googleapis.com",
)


@dataclass(frozen=True, slots=True)
class SandboxSettings:
    """Shape one sandbox.

    Attributes:
        project_id: The project of the logged-in operator.
        project_number: Its number, which appears in the names of pools.
        other_projects: Further projects, id to number, that the operator owns too.
        operator: The email of the logged-in operator, owner of every project.
        groups: Groups of people, service accounts and other groups, each with its members, by email.
        propagation: How long a changed IAM policy takes to come into effect; life's own is a minute or more (google-behaviour: policies).
        account_visibility: How long a new service account is unknown to policies.
        disabled_apis: APIs that are off at first, in every project.
        soft_delete: How long deleted pools, providers and service accounts can be had back.
        key_type: The key that the Kubernetes side signs service-account tokens with at first.
        latency: A simulated round trip, spent once a request and twice a connection.
        state_dir: Where to keep everything; None: a temporary directory.
        control_plane: The directory of a real kube-apiserver, kube-controller-manager and etcd; None: the built-in API server.
        kubeconfig: A real cluster to stand beside; None: a cluster of the sandbox's own.
    """

    project_id: str = "demo-project"
    project_number: str = "415104041262"
    other_projects: tuple[tuple[str, str], ...] = ()
    operator: str = "operator@example.com"
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()
    propagation: timedelta = timedelta(seconds=1)
    account_visibility: timedelta = timedelta(milliseconds=500)
    disabled_apis: frozenset[str] = frozenset()
    soft_delete: timedelta = timedelta(days=30)
    key_type: KeyType = "rsa2048"
    latency: timedelta = timedelta(0)
    state_dir: Path | None = None
    control_plane: Path | None = None
    kubeconfig: Path | None = None

    @property
    def projects(self) -> dict[str, str]:
        """Every project: id to number."""
        return {self.project_id: self.project_number, **dict(self.other_projects)}
