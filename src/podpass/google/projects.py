# SPDX-License-Identifier: Apache-2.0
"""Resource Manager: a project's id and number, its IAM policy, what the caller may do there."""

from collections.abc import Iterable
from dataclasses import dataclass

from podpass.errors import UnexpectedAnswerError
from podpass.google.policy import CONDITIONS_VERSION, Policy
from podpass.google.rest import GoogleClient, Request, segment

_SERVICE = "cloudresourcemanager"


@dataclass(frozen=True, slots=True)
class Project:
    """A project: the id is what people write, the number is in the names of pools."""

    project_id: str
    number: str


def get_project(client: GoogleClient, id_or_number: str) -> Project:
    """Look a project up by its id or its number.

    Raises:
        GoogleRefusedError: It is not there, or the caller may not see it: Google says 403 for both.
    """
    answer = client.call(
        Request(
            "GET",
            _SERVICE,
            f"/v1/projects/{segment(id_or_number)}",
            f"look up the project {id_or_number}",
            permission="resourcemanager.projects.get",
        )
    )
    project_id, number = answer.get("projectId"), answer.get("projectNumber")
    if not isinstance(project_id, str) or not str(number).isdecimal():
        raise UnexpectedAnswerError(f"Google's answer about the project {id_or_number} has no projectId or no projectNumber.")
    return Project(project_id, str(number))


def missing_permissions(client: GoogleClient, project: str, permissions: Iterable[str]) -> frozenset[str]:
    """Return which of these permissions the caller lacks on the project."""
    wanted = frozenset(permissions)
    answer = client.call(
        Request(
            "POST",
            _SERVICE,
            f"/v1/projects/{segment(project)}:testIamPermissions",
            f"ask what the operator may do in the project {project}",
            body={"permissions": sorted(wanted)},
            is_repeatable=True,
        )
    )
    return wanted - frozenset(answer.get("permissions", []))


@dataclass(frozen=True, slots=True)
class ProjectPolicy:
    """The IAM policy of a project; a `PolicyHolder`."""

    client: GoogleClient
    project: str

    def __str__(self) -> str:
        return f"the project {self.project}"

    def read_policy(self) -> Policy:
        """Return the policy with its conditions."""
        return self.client.call(
            self._request("getIamPolicy", "read", {"options": {"requestedPolicyVersion": CONDITIONS_VERSION}}, is_repeatable=True)
        )

    def write_policy(self, policy: Policy) -> Policy:
        """Write the whole policy under its etag."""
        return self.client.call(self._request("setIamPolicy", "change", {"policy": policy}))

    def _request(self, method: str, verb: str, body: Policy, *, is_repeatable: bool = False) -> Request:
        return Request(
            "POST",
            _SERVICE,
            f"/v1/projects/{segment(self.project)}:{method}",
            f"{verb} the IAM policy of {self}",
            body=body,
            permission=f"resourcemanager.projects.{method}",
            is_repeatable=is_repeatable,
        )
