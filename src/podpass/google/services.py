# SPDX-License-Identifier: Apache-2.0
"""Service Usage: which APIs a project has enabled, and enabling one."""

from podpass.google.operations import finish
from podpass.google.rest import GoogleClient, Request, segment

_SERVICE = "serviceusage"


def enabled_services(client: GoogleClient, project: str) -> frozenset[str]:
    """Return the names of the enabled APIs: `iam.googleapis.com`."""
    names: set[str] = set()
    query = {"filter": "state:ENABLED", "pageSize": "200"}
    while True:
        answer = client.call(
            Request(
                "GET",
                _SERVICE,
                f"/v1/projects/{segment(project)}/services",
                f"list the enabled APIs of the project {project}",
                query=query,
                permission="serviceusage.services.list",
            )
        )
        names.update(str(service.get("name", "")).rpartition("/")[2] for service in answer.get("services", []))
        if not answer.get("nextPageToken"):
            return frozenset(names)
        query = {**query, "pageToken": str(answer["nextPageToken"])}


def enable_service(client: GoogleClient, project: str, service: str) -> None:
    """Enable an API, and wait until it is; an enabled one stays so."""
    operation = client.call(
        Request(
            "POST",
            _SERVICE,
            f"/v1/projects/{segment(project)}/services/{segment(service)}:enable",
            f"enable {service} in the project {project}",
            body={},
            permission="serviceusage.services.enable",
            is_repeatable=True,
        )
    )
    finish(client, _SERVICE, "v1", operation, f"enable {service} in the project {project}")
