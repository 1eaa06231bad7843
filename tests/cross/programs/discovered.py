# SPDX-License-Identifier: Apache-2.0
"""Builds Google's APIs from their discovery documents and uses each; prints what it found as one JSON object.

A process of its own, since httplib2 reads the authority to trust when it is imported.
"""

import io
import json
import os
import urllib.request
from typing import Any

import google.auth
from googleapiclient.discovery import build
from googleapiclient.errors import HttpError
from googleapiclient.http import MediaInMemoryUpload, MediaIoBaseDownload

POOL = "made-by-discovery"


def refused(request: Any) -> list[object]:  # noqa: ANN401 - googleapiclient has no types
    try:
        request.execute()
    except HttpError as error:
        return [error.status_code, error.reason]
    raise AssertionError(request.uri)


def pools(credentials: Any, project: str) -> dict[str, Any]:  # noqa: ANN401
    with build("iam", "v1", credentials=credentials) as iam:
        api = iam.projects().locations().workloadIdentityPools()
        parent = f"projects/{project}/locations/global"
        operation = api.create(parent=parent, workloadIdentityPoolId=POOL, body={"displayName": "Made"}).execute()
        created = api.operations().get(name=operation["name"]).execute()
        name = f"{parent}/workloadIdentityPools/{POOL}"
        api.patch(name=name, updateMask="displayName", body={"displayName": "Changed", "disabled": True}).execute()
        return {
            "created": created["response"]["name"],
            "changed": api.get(name=name).execute(),
            "again": refused(api.create(parent=parent, workloadIdentityPoolId=POOL, body={})),
            "missing": refused(api.get(name=f"{name}-not")),
        }


def project_policy(credentials: Any, project: str) -> dict[str, Any]:  # noqa: ANN401
    with build("cloudresourcemanager", "v3", credentials=credentials) as manager:
        projects = manager.projects()
        name = f"projects/{project}"
        policy = projects.getIamPolicy(resource=name, body={"options": {"requestedPolicyVersion": 3}}).execute()
        policy["bindings"].append({"role": "roles/browser", "members": ["user:second@example.com"]})
        written = projects.setIamPolicy(resource=name, body={"policy": policy}).execute()
        return {
            "name": projects.get(name=name).execute()["name"],
            "roles": [binding["role"] for binding in written["bindings"]],
            "stale": refused(projects.setIamPolicy(resource=name, body={"policy": policy}))[0],
        }


def objects(credentials: Any, project: str) -> dict[str, Any]:  # noqa: ANN401
    with build("storage", "v1", credentials=credentials) as storage:
        storage.buckets().insert(project=project, body={"name": "discovered"}).execute()
        api, media = storage.objects(), bytes(range(256)) * 2048
        sizes = [len(media), 0, 7]
        for resumable in (False, True):
            for size in sizes:
                upload = MediaInMemoryUpload(media[:size], "text/css", chunksize=256 * 1024, resumable=resumable)
                api.insert(bucket="discovered", body={"name": f"{resumable}/{size}"}, media_body=upload).execute()
        target = io.BytesIO()
        download = MediaIoBaseDownload(target, api.get_media(bucket="discovered", object=f"True/{sizes[0]}"), chunksize=100_000)
        while not download.next_chunk()[1]:
            pass
        return {
            "same": target.getvalue() == media,
            "sizes": [int(item["size"]) for item in api.list(bucket="discovered", prefix="True/").execute()["items"]],
            "folders": api.list(bucket="discovered", delimiter="/").execute()["prefixes"],
            "full": refused(storage.buckets().delete(bucket="discovered")),
        }


def services(credentials: Any, project: str) -> list[str]:  # noqa: ANN401
    with build("serviceusage", "v1", credentials=credentials) as usage:
        usage.services().enable(name=f"projects/{project}/services/iam.googleapis.com", body={}).execute()
        enabled = usage.services().list(parent=f"projects/{project}", filter="state:ENABLED").execute()
        return [service["config"]["name"] for service in enabled["services"]]


def groups(credentials: Any, _project: str) -> dict[str, Any]:  # noqa: ANN401
    declared = {"team@example.com": ["inner@example.com"], "inner@example.com": ["someone@example.com"]}
    door = {"Authorization": f"Bearer {os.environ['PODPASS_SANDBOX_ADMIN_TOKEN']}"}
    asked = urllib.request.Request(f"{os.environ['PODPASS_SANDBOX_ADMIN']}/groups", json.dumps(declared).encode(), door, method="PUT")
    urllib.request.urlopen(asked).close()
    with build("cloudidentity", "v1", credentials=credentials) as identity:
        api, memberships = identity.groups(), identity.groups().memberships()
        name = api.lookup(groupKey_id="team@example.com").execute()["name"]
        key = "member_key_id == 'someone@example.com'"
        searched = memberships.searchTransitiveGroups(parent="groups/-", query=f"{key} && 'x' in labels").execute()
        return {
            "email": api.get(name=name).execute()["groupKey"]["id"],
            "has": memberships.checkTransitiveMembership(parent=name, query=key).execute(),
            "of": sorted(each["groupKey"]["id"] for each in searched["memberships"]),
            "members": [each["relationType"] for each in memberships.searchTransitiveMemberships(parent=name).execute()["memberships"]],
            "missing": refused(api.lookup(groupKey_id="none@example.com"))[0],
        }


def cloud_run(credentials: Any, project: str) -> dict[str, Any]:  # noqa: ANN401
    container = {"image": "podpass.dev/unknown"}
    body = {"metadata": {"name": "found", "namespace": project}, "spec": {"template": {"spec": {"containers": [container]}}}}
    regional = {"api_endpoint": "https://europe-west1-run.googleapis.com"}
    with build("run", "v1", credentials=credentials, client_options=regional) as run:
        api = run.namespaces().services()
        made = api.create(parent=f"namespaces/{project}", body=body).execute()
        again = refused(api.create(parent=f"namespaces/{project}", body=body))
        api.delete(name=f"namespaces/{project}/services/found").execute()
        return {"url": made["status"]["url"], "again": again, "left": api.list(parent=f"namespaces/{project}").execute()["items"]}


def main() -> None:
    credentials, project = google.auth.default()
    walks = (pools, project_policy, objects, services, groups, cloud_run)
    print(json.dumps({walk.__name__: walk(credentials, str(project)) for walk in walks}))


if __name__ == "__main__":
    main()
