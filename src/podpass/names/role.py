# SPDX-License-Identifier: Apache-2.0
"""The names of IAM roles."""

import re

from podpass.errors import ConfigError
from podpass.names.quoting import quoted

# Google (IAM v1, Role.name): predefined roles are roles/NAME, custom ones belong to a project or an organization.
_ROLE = re.compile(r"(projects/[a-z][a-z0-9-]{4,28}[a-z0-9]/|organizations/[0-9]{1,20}/)?roles/[A-Za-z0-9_.]{1,100}")
BASIC_ROLES = frozenset({"roles/owner", "roles/editor", "roles/viewer"})


def check_role(text: str) -> str:
    """Return the name of a role, unless it has no role's form.

    Raises:
        ConfigError: Another form than `roles/R`, `projects/P/roles/R`, `organizations/N/roles/R`.
    """
    if _ROLE.fullmatch(text):
        return text
    cure = f"Write roles/{text}." if _ROLE.fullmatch(f"roles/{text}") else "Write it as `gcloud iam roles list` prints it."
    raise ConfigError(
        f"{quoted(text)} is not the name of an IAM role.",
        "A role is roles/NAME, projects/ID/roles/NAME or organizations/NUMBER/roles/NAME.",
        cure,
        code="config.role",
    )
