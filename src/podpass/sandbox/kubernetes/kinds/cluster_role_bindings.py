# SPDX-License-Identifier: Apache-2.0
"""Bindings of the default cluster roles that podpass's own servers ask for; cluster roles of one's own need a real control plane."""

from typing import Any, Final

from lightkube.models.rbac_v1 import ClusterRoleBinding

from podpass.sandbox.kubernetes.kind import AGE, NAME, Column, Kind
from podpass.sandbox.kubernetes.status import Cause, invalid_value, not_served, required, unsupported_value

Json = dict[str, Any]

RBAC: Final = "rbac.authorization.k8s.io"
# role -> rows of (verbs, resources as group:name), as `kubectl describe clusterrole` shows them.
ROLES: Final = {
    "system:auth-delegator": (("create", "authentication.k8s.io:tokenreviews authorization.k8s.io:subjectaccessreviews"),),
}
_SUBJECTS: Final = ("ServiceAccount", "User", "Group")


ROLE_COLUMN: Final = Column("Role", lambda obj, _: f"{obj['roleRef']['kind']}/{obj['roleRef']['name']}")


def complete(binding: Json) -> None:
    """Give role and subjects the group that real servers give them."""
    binding["roleRef"].setdefault("apiGroup", RBAC)
    for subject in binding.get("subjects") or ():
        if subject["kind"] != "ServiceAccount":
            subject.setdefault("apiGroup", RBAC)


def check_reference(binding: Json, old: Json | None) -> list[Cause]:
    """Say what is wrong with the role that is named."""
    role = binding["roleRef"]
    if old and old["roleRef"] != role:
        shown = {"APIGroup": role["apiGroup"], "Kind": role["kind"], "Name": role["name"]}  # Go's own names, as the real server has them
        return [invalid_value("roleRef", shown, "cannot change roleRef")]
    if role["apiGroup"] != RBAC:
        return [unsupported_value("roleRef.apiGroup", role["apiGroup"], (RBAC,))]
    return []


def check_subjects(binding: Json) -> list[Cause]:
    """Say what is wrong with whom it is bound to."""
    return [cause for index, subject in enumerate(binding.get("subjects") or ()) for cause in _check_subject(f"subjects[{index}]", subject)]


def _check(binding: Json, old: Json | None) -> list[Cause]:
    if causes := check_reference(binding, old):
        return causes
    role = binding["roleRef"]
    if role["kind"] != "ClusterRole":
        return [unsupported_value("roleRef.kind", role["kind"], ("ClusterRole",))]
    if role["name"] not in ROLES:
        raise not_served(f"bindings of the cluster role {role['name']} (it knows {', '.join(ROLES)})")
    return check_subjects(binding)


def _check_subject(path: str, subject: Json) -> list[Cause]:
    if subject["kind"] not in _SUBJECTS:
        return [unsupported_value(f"{path}.kind", subject["kind"], _SUBJECTS)]
    if subject["kind"] == "ServiceAccount" and not subject.get("namespace"):
        return [required(f"{path}.namespace", "")]
    return []


CLUSTER_ROLE_BINDING: Final = Kind(
    ClusterRoleBinding,
    "clusterrolebindings",
    group=RBAC,
    namespaced=False,
    columns=(NAME, ROLE_COLUMN, AGE),
    default=complete,
    check=_check,
)
