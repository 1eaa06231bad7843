# SPDX-License-Identifier: Apache-2.0
"""Records as the API shows them. Links are built from the address that the client itself used (google-behaviour: storage)."""

import base64
from urllib.parse import quote

from podpass.sandbox.google.service import Call
from podpass.sandbox.store import Json

_INTERNAL = frozenset({"acl", "blob", "owners", "project"})


def moment(call: Call) -> str:
    """Write the present moment as Cloud Storage does, to the millisecond."""
    return f"{call.universe.clock.now():%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"


def bucket_json(call: Call, value: Json) -> Json:
    """Show a bucket."""
    access, project = value["iamConfiguration"], call.universe.project(value["project"])
    assert project is not None
    return {
        "kind": "storage#bucket",
        "id": value["name"],
        **_shown(value),
        "projectNumber": project["projectNumber"],
        "iamConfiguration": {**access, "bucketPolicyOnly": access["uniformBucketLevelAccess"]},
        "selfLink": f"{call.origin}/storage/v1/b/{value['name']}",
        "etag": _etag(value["metageneration"]),
    }


def object_json(call: Call, value: Json) -> Json:
    """Show an object."""
    path = f"storage/v1/b/{value['bucket']}/o/{quote(value['name'], safe='')}"
    return {
        "kind": "storage#object",
        "id": f"{value['bucket']}/{value['name']}/{value['generation']}",
        **_shown(value),
        "selfLink": f"{call.origin}/{path}",
        "mediaLink": f"{call.origin}/download/{path}?generation={value['generation']}&alt=media",
        "etag": _etag(value["generation"], value["metageneration"]),
    }


def _shown(value: Json) -> Json:
    """Leave out what is the sandbox's own; counts are strings in Google's JSON."""
    return {name: str(each) if type(each) is int else each for name, each in value.items() if name not in _INTERNAL}


def _etag(*counters: int) -> str:
    return base64.b64encode("/".join(map(str, counters)).encode()).decode()
