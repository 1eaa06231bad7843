# SPDX-License-Identifier: Apache-2.0
"""The ids of Google's projects."""

import re

from podpass.errors import ConfigError
from podpass.names.quoting import quoted

# Google (Resource Manager v3, Project.projectId): 6 to 30 of a-z, 0-9 and '-', a letter first, no '-' last.
_ID = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


def check_project_id(text: str) -> str:
    """Return a project's id, unless Google would refuse it.

    A project's number is refused too: the emails of its service accounts are made of the id. So are the ids of the old form
    `example.com:name`, whose accounts have emails of another form.

    Raises:
        ConfigError: One of these.
    """
    if _ID.fullmatch(text):
        return text
    if text.isdecimal():
        raise ConfigError(
            f"{quoted(text)} is a project's number.",
            "The id is wanted here, since the emails of service accounts are made of it.",
            f"Write what `gcloud projects describe {text} --format='value(projectId)'` prints.",
            code="config.project",
        )
    raise ConfigError(
        f"{quoted(text)} cannot be the id of a Google project.",
        "An id has 6 to 30 of a-z, 0-9 and '-', begins with a letter and does not end in '-'.",
        "Write the id, not the name that the console shows above it.",
        code="config.project",
    )
