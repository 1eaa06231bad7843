# SPDX-License-Identifier: Apache-2.0
"""Reviews: who the operator is to the cluster, and what the operator may do there."""

from dataclasses import dataclass

from podpass.kube.client import Json, KubeClient, Request


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


def may(client: KubeClient, access: Access) -> bool:
    """Ask whether the operator may do this."""
    body: Json = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": access.as_json()}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = client.call(Request("POST", path, f"say whether the operator may {access}", body=body, is_question=True))
    status = answer.get("status")
    return isinstance(status, dict) and status.get("allowed") is True
