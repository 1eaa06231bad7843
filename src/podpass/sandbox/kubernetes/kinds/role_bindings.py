# SPDX-License-Identifier: Apache-2.0
"""Bindings of roles in their own namespace; those of cluster roles need a real control plane."""

from typing import Any, Final

from lightkube.models.rbac_v1 import RoleBinding

from podpass.sandbox.kubernetes.kind import AGE, NAME, Kind
from podpass.sandbox.kubernetes.kinds.cluster_role_bindings import RBAC, ROLE_COLUMN, check_reference, check_subjects, complete
from podpass.sandbox.kubernetes.status import Cause, not_served

Json = dict[str, Any]


def _check(binding: Json, old: Json | None) -> list[Cause]:
    causes = check_reference(binding, old)
    if not causes and binding["roleRef"]["kind"] != "Role":
        raise not_served("bindings of cluster roles in a namespace")
    return causes or check_subjects(binding)


ROLE_BINDING: Final = Kind(RoleBinding, "rolebindings", group=RBAC, columns=(NAME, ROLE_COLUMN, AGE), default=complete, check=_check)
