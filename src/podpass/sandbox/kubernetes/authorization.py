# SPDX-License-Identifier: Apache-2.0
"""Who may do what: one table in place of RBAC's roles, with what the real default roles give to these users.

The table grows by roles in a namespace with their bindings, and by bindings of the few cluster roles in `kinds.cluster_role_bindings`;
cluster roles of one's own are among what only a real control plane has.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from podpass.sandbox.kubernetes.authentication import AUTHENTICATED, User
from podpass.sandbox.kubernetes.kind import Json
from podpass.sandbox.kubernetes.kinds import CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING
from podpass.sandbox.kubernetes.kinds.cluster_role_bindings import ROLES
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.status import StatusError, forbidden

ADMINS: Final = "system:masters"
NODES: Final = "system:nodes"
CONTROLLER: Final = "system:kube-controller-manager"


@dataclass(frozen=True, slots=True)
class Action:
    """What is asked for: a verb on a resource, or on a path when `resource` is empty."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def target(self) -> str:
        """The resource with its subresource, as rules name it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


_ACCOUNT: Final = "system:serviceaccount:"
_READ: Final = "get list watch"
# user or group -> rows of (verbs, resources as group:name)
_RULES: Final = {
    NODES: (
        (f"{_READ} create update patch", ":nodes :nodes/status coordination.k8s.io:leases"),
        # A node agent does a scheduler's part too: there is one node.
        (f"{_READ} delete", ":pods"),
        ("update patch", ":pods/status"),
        ("create", ":pods/binding :serviceaccounts/token :events"),
        ("patch update", ":events"),
        (_READ, ":configmaps :secrets :serviceaccounts"),
        ("create", "authentication.k8s.io:tokenreviews"),
    ),
    CONTROLLER: (
        (f"{_READ} update patch delete", "batch:jobs batch:jobs/status"),
        (f"{_READ} create update patch delete", ":pods :pods/status :serviceaccounts :configmaps :events"),
        (_READ, ":namespaces :nodes"),
    ),
    AUTHENTICATED: (("create", "authentication.k8s.io:selfsubjectreviews authorization.k8s.io:selfsubjectaccessreviews"),),
}
_HEALTH: Final = ("/healthz", "/livez", "/readyz", "/version", "/version/")
_DISCOVERY: Final = (*_HEALTH, "/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*")
# user or group -> paths of GET
_PATHS: Final = {
    "system:unauthenticated": _HEALTH,
    AUTHENTICATED: _DISCOVERY,
    # system:service-account-issuer-discovery is bound to this group, not to anonymous.
    "system:serviceaccounts": ("/openid/v1/jwks", "/openid/v1/jwks/", "/.well-known/openid-configuration"),
}


def allows(objects: Objects, user: User, action: Action) -> bool:
    """Say whether the table, or a binding among the cluster's objects, lets a user do it."""
    identities = (user.name, *user.groups)
    if ADMINS in identities:
        return True
    if not action.resource:
        paths = [path for identity in identities for path in _PATHS.get(identity, ())]
        fits = any(action.path.startswith(path[:-1]) if path.endswith("*") else action.path == path for path in paths)
        return fits and action.verb == "get"
    wanted = f"{action.group}:{action.target}"
    rows = [row for identity in identities for row in _RULES.get(identity, ())]
    rows += [row for binding in objects.select(CLUSTER_ROLE_BINDING) if _names(binding, user) for row in ROLES[binding["roleRef"]["name"]]]
    if any(action.verb in verbs.split() and wanted in resources.split() for verbs, resources in rows):
        return True
    return bool(action.namespace) and any(_permits(rule, action) for rule in _rules(objects, user, action.namespace))


def _rules(objects: Objects, user: User, namespace: str) -> Iterator[Json]:
    """Yield the rules of a namespace's roles that a user is bound to."""
    for binding in objects.select(ROLE_BINDING, namespace):
        role = objects.find(ROLE, namespace, binding["roleRef"]["name"]) if _names(binding, user) else None
        if role:
            yield from role.get("rules") or ()


def _permits(rule: Json, action: Action) -> bool:
    pairs = (("verbs", action.verb), ("apiGroups", action.group), ("resources", action.target))
    if not all({wanted, "*"} & set(rule.get(name) or ()) for name, wanted in pairs):
        return False
    return not rule.get("resourceNames") or action.name in rule["resourceNames"]


def _names(binding: Json, user: User) -> bool:
    """Tell whether a user is among a binding's subjects."""
    for subject in binding.get("subjects") or ():
        match subject["kind"]:
            case "Group" if subject["name"] in user.groups:
                return True
            case "User" if subject["name"] == user.name:
                return True
            case "ServiceAccount" if f"{_ACCOUNT}{subject['namespace']}:{subject['name']}" == user.name:
                return True
    return False


def check(objects: Objects, user: User, action: Action) -> None:
    """Refuse what the table does not allow.

    Raises:
        StatusError: 403, in the words of the real server.
    """
    if allows(objects, user, action):
        return
    if not action.resource:
        raise StatusError(403, f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"')
    scope = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
    why = f'User "{user.name}" cannot {action.verb} resource "{action.target}" in API group "{action.group}" {scope}'
    raise forbidden(action.resource, action.group, action.name, why)
