# SPDX-License-Identifier: Apache-2.0
"""Roles of one's own, in a namespace. `sandbox.kubernetes.authorization` reads their rules."""

from lightkube.models.rbac_v1 import Role

from podpass.sandbox.kubernetes.kind import NAME, Column, Kind
from podpass.sandbox.kubernetes.kinds.cluster_role_bindings import RBAC

ROLE = Kind(
    Role,
    "roles",
    group=RBAC,
    columns=(NAME, Column("Created At", lambda obj, _: obj["metadata"]["creationTimestamp"], "date")),
)
