# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: E501 - the lines of the table are what the reader sees, whole
"""Google's refusals, by their published and measured texts: which kind each is, and what the reader is told."""

import httpx2
import pytest

from podpass.google.fault import FaultKind, GoogleFault, GoogleRefusedError
from unit.google.recorded import reason, refusal

STORAGE_403 = httpx2.Response(
    403,
    json={
        "error": {
            "code": 403,
            "message": "a@example.com does not have storage.buckets.list access to the Google Cloud project. Permission "
            "'storage.buckets.list' denied on resource (or it may not exist).",
            "errors": [{"message": "…", "domain": "global", "reason": "forbidden"}],
        }
    },
)
_VIOLATED = "Org Policy violated for value: 'https://oidc.example/c1'."
PRECONDITION = {
    "@type": "type.googleapis.com/google.rpc.PreconditionFailure",
    "violations": [{"type": "constraints/iam.workloadIdentityPoolProviders", "subject": "orgpolicy:projects/1", "description": _VIOLATED}],
}

CASES = {
    "permission": (
        refusal(
            403,
            "PERMISSION_DENIED",
            "Permission 'iam.workloadIdentityPools.create' denied on resource '//iam.googleapis.com/x' (or it may not exist).",
            reason("IAM_PERMISSION_DENIED", permission="iam.workloadIdentityPools.create"),
        ),
        FaultKind.PERMISSION_DENIED,
        (
            "Google refused to do it (403 PERMISSION_DENIED). The caller lacks iam.workloadIdentityPools.create. Permission "
            "'iam.workloadIdentityPools.create' denied on resource '//iam.googleapis.com/x' (or it may not exist). Ask who administers the "
            "resource for a role with that permission, and check that the resource exists."
        ),
    ),
    "permission that Google does not name": (
        refusal(403, "PERMISSION_DENIED", "The caller does not have permission"),
        FaultKind.PERMISSION_DENIED,
        (
            "Google refused to do it (403 PERMISSION_DENIED). The caller lacks the.needed.permission. The caller does not have permission. Ask "
            "who administers the resource for a role with that permission, and check that the resource exists."
        ),
    ),
    "storage": (
        STORAGE_403,
        FaultKind.PERMISSION_DENIED,
        (
            "Google refused to do it (403 PERMISSION_DENIED). The caller lacks storage.buckets.list. a@example.com does not have "
            "storage.buckets.list access to the Google Cloud project. Permission 'storage.buckets.list' denied on resource (or it may not "
            "exist). Ask who administers the resource for a role with that permission, and check that the resource exists."
        ),
    ),
    "API off": (
        refusal(
            403,
            "PERMISSION_DENIED",
            "Identity and Access Management (IAM) API has not been used in project 123 before or it is disabled.",
            reason("SERVICE_DISABLED", service="iam.googleapis.com", consumer="projects/123"),
        ),
        FaultKind.API_DISABLED,
        (
            "Google refused to do it (403 PERMISSION_DENIED). iam.googleapis.com is not enabled. Identity and Access Management (IAM) API has "
            "not been used in project 123 before or it is disabled. Run `gcloud services enable iam.googleapis.com --project 123`, wait a "
            "minute, and repeat."
        ),
    ),
    "scope": (
        refusal(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", reason("ACCESS_TOKEN_SCOPE_INSUFFICIENT")),
        FaultKind.SCOPE,
        (
            "Google refused to do it (403 PERMISSION_DENIED). Request had insufficient authentication scopes. The credentials are limited to "
            "other scopes; use ones with https://www.googleapis.com/auth/cloud-platform."
        ),
    ),
    "taken": (
        refusal(409, "ALREADY_EXISTS", "Requested entity already exists"),
        FaultKind.ALREADY_EXISTS,
        "Google refused to do it (409 ALREADY_EXISTS). Requested entity already exists.",
    ),
    "conflict": (
        refusal(409, "ABORTED", "There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff."),
        FaultKind.ABORTED,
        (
            "Google refused to do it (409 ABORTED). Somebody else changed it at the same time. There were concurrent policy changes. Please "
            "retry the whole read-modify-write with exponential backoff. Run the command again."
        ),
    ),
    "organization policy": (
        refusal(
            400,
            "FAILED_PRECONDITION",
            "Precondition check failed. It may have been changed or deleted meanwhile: look what there is with `podpass plan`.",
            PRECONDITION,
        ),
        FaultKind.ORG_POLICY,
        (
            "Google refused to do it (400 FAILED_PRECONDITION). The organization policy constraints/iam.workloadIdentityPoolProviders forbids "
            "it. Org Policy violated for value: 'https://oidc.example/c1'. Ask who keeps the organization's policies for an exception."
        ),
    ),
    "plain precondition": (
        refusal(400, "FAILED_PRECONDITION", "Precondition check failed."),
        FaultKind.FAILED_PRECONDITION,
        (
            "Google refused to do it (400 FAILED_PRECONDITION). Precondition check failed. It may have been changed or deleted meanwhile: "
            "look what there is with `podpass plan`."
        ),
    ),
    "bucket not empty": (
        httpx2.Response(409, json={"error": {"code": 409, "message": "The bucket you tried to delete is not empty."}}),
        FaultKind.FAILED_PRECONDITION,
        "Google refused to do it (409 CONFLICT). The bucket you tried to delete is not empty.",
    ),
    "bucket taken": (
        httpx2.Response(409, json={"error": {"code": 409, "message": "Name taken.", "errors": [{"reason": "conflict"}]}}),
        FaultKind.ALREADY_EXISTS,
        "Google refused to do it (409 CONFLICT). Name taken.",
    ),
    "generation": (
        httpx2.Response(412, json={"error": {"code": 412, "message": "Did not hold.", "errors": [{"reason": "conditionNotMet"}]}}),
        FaultKind.ABORTED,
        "Google refused to do it (412 FAILED_PRECONDITION). Somebody else changed it at the same time. Did not hold. Run the command again.",
    ),
    "a proxy's page": (
        httpx2.Response(403, content=b"<html>Forbidden ya29.secret</html>"),
        FaultKind.PERMISSION_DENIED,
        (
            "Google refused to do it (403 PERMISSION_DENIED). The caller lacks the.needed.permission. The answer has no error body in Google's "
            "form. Ask who administers the resource for a role with that permission, and check that the resource exists."
        ),
    ),
}


@pytest.mark.parametrize(("response", "kind", "expected"), CASES.values(), ids=CASES)
def test_a_refusal_is_understood_and_explained(response: httpx2.Response, kind: FaultKind, expected: str) -> None:
    error = GoogleRefusedError(GoogleFault.parse(response.status_code, response.content), "do it", permission="the.needed.permission")
    assert (error.kind, str(error)) == (kind, expected)
    assert error.full_code == f"neighbour.google-{kind}"
    assert not error.retryable


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'{"error": "text"}', b'{"error": {"details": 5, "errors": "x"}}', b"{" * 100_000])
def test_a_body_of_any_shape_is_survived(body: bytes) -> None:
    assert GoogleFault.parse(500, body).kind is FaultKind.UNAVAILABLE
