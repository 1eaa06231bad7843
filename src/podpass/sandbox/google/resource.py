# SPDX-License-Identifier: Apache-2.0
"""Resources: what permissions are checked on, each with those above it."""

from collections.abc import Iterator
from dataclasses import dataclass

from podpass.sandbox.store import Json


@dataclass(frozen=True, slots=True)
class Resource:
    """What a permission is checked on; its policy and those of its parents count.

    Attributes:
        name: The full resource name, `//SERVICE/PATH`; the key of its policy.
        type: The type as conditions see it, `storage.googleapis.com/Bucket`.
        parent: The resource above; None for a project.
        grants: Bindings (`role`, `members`) that hold besides its policy, such as a storage object's ACL.
    """

    name: str
    type: str
    parent: "Resource | None" = None
    grants: tuple[Json, ...] = ()

    @property
    def project(self) -> str:
        """The id of the project it belongs to."""
        top = self
        while top.parent:
            top = top.parent
        return top.name.rpartition("/")[2]

    @property
    def path(self) -> str:
        """The name without the service, `projects/…`."""
        return self.name.removeprefix("//").partition("/")[2]

    def lineage(self) -> "Iterator[Resource]":
        """Yield it and then everything above it."""
        here: Resource | None = self
        while here:
            yield here
            here = here.parent


def project_resource(project_id: str) -> Resource:
    """Name a project as a resource."""
    name = f"//cloudresourcemanager.googleapis.com/projects/{project_id}"
    return Resource(name, "cloudresourcemanager.googleapis.com/Project")
