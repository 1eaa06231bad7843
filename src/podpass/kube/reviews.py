# SPDX-License-Identifier: Apache-2.0
"""Reviews: who the operator is to the cluster, and what the operator may do there."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podpass.kube.client import Json, KubeClient, Request
from podpass.kube.fault import FaultKind, KubeRefusedError


@dataclass(frozen=True, slots=True)
class Access:
    """One thing that somebody may want to do: a verb on a resource, or on a path of the API server.

    Attributes:
        verb: `get`, `create`, `update`, `delete`, `list`.
        resource: Plural: `configmaps`; empty for a path.
        subresource: `token`.
        group: API group; empty for the core.
        namespace: Empty: in every one, or not namespaced.
        path: `/openid/v1/jwks`.
    """

    verb: str
    resource: str = ""
    subresource: str = ""
    group: str = ""
    namespace: str = ""
    path: str = ""

    def as_json(self) -> Json:
        """Return the spec of a SelfSubjectAccessReview."""
        if self.path:
            return {"nonResourceAttributes": {"verb": self.verb, "path": self.path}}
        names = {
            "verb": self.verb,
            "resource": self.resource,
            "subresource": self.subresource,
            "group": self.group,
            "namespace": self.namespace,
        }
        return {"resourceAttributes": {key: value for key, value in names.items() if value}}

    def __str__(self) -> str:
        if self.path:
            return f"{self.verb} {self.path}"
        what = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {what}" + (f" in namespace {self.namespace}" if self.namespace else "")


@dataclass(frozen=True, slots=True)
class Who:
    """The operator, as the cluster knows it."""

    username: str
    groups: tuple[str, ...] = ()
    extra: Mapping[str, object] = field(default_factory=dict)


def may(client: KubeClient, access: Access) -> bool:
    """Ask whether the operator may do this."""
    body: Json = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": access.as_json()}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = client.call(Request("POST", path, f"say whether the operator may {access}", body=body))
    status = answer.get("status")
    return isinstance(status, dict) and status.get("allowed") is True


def who_am_i(client: KubeClient) -> Who | None:
    """Ask who the operator is; None where the server is older than the question (1.28)."""
    body: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    try:
        answer = client.call(Request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "say who the operator is", body=body))
    except KubeRefusedError as error:
        if error.kind is FaultKind.NOT_FOUND:
            return None
        raise
    info = (answer.get("status") or {}).get("userInfo") or {}
    return Who(str(info.get("username", "")), tuple(info.get("groups") or ()), dict(info.get("extra") or {}))
