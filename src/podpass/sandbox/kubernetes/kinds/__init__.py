# SPDX-License-Identifier: Apache-2.0
"""The kinds that this API server has, a file each (the two that hold data share one)."""

from typing import Final

from podpass.sandbox.kubernetes.kind import Kind
from podpass.sandbox.kubernetes.kinds.cluster_role_bindings import CLUSTER_ROLE_BINDING
from podpass.sandbox.kubernetes.kinds.data import CONFIG_MAP, SECRET
from podpass.sandbox.kubernetes.kinds.events import EVENT
from podpass.sandbox.kubernetes.kinds.jobs import JOB
from podpass.sandbox.kubernetes.kinds.leases import LEASE
from podpass.sandbox.kubernetes.kinds.namespaces import NAMESPACE
from podpass.sandbox.kubernetes.kinds.nodes import NODE
from podpass.sandbox.kubernetes.kinds.pods import POD
from podpass.sandbox.kubernetes.kinds.role_bindings import ROLE_BINDING
from podpass.sandbox.kubernetes.kinds.roles import ROLE
from podpass.sandbox.kubernetes.kinds.service_accounts import SERVICE_ACCOUNT

KINDS: Final[tuple[Kind, ...]] = (
    *(CONFIG_MAP, EVENT, NAMESPACE, NODE, POD, SECRET, SERVICE_ACCOUNT, JOB, LEASE),
    *(CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING),
)

__all__ = [
    "CLUSTER_ROLE_BINDING",
    "CONFIG_MAP",
    "EVENT",
    "JOB",
    "KINDS",
    "LEASE",
    "NAMESPACE",
    "NODE",
    "POD",
    "ROLE",
    "ROLE_BINDING",
    "SECRET",
    "SERVICE_ACCOUNT",
]
