# SPDX-License-Identifier: Apache-2.0
"""Service accounts; their tokens are made by `sandbox.kubernetes.token_request`."""

from lightkube.models.core_v1 import ServiceAccount

from podpass.sandbox.kubernetes.kind import AGE, NAME, Column, Kind

SERVICE_ACCOUNT = Kind(
    ServiceAccount,
    "serviceaccounts",
    short_names=("sa",),
    columns=(NAME, Column("Secrets", lambda obj, _: len(obj.get("secrets") or ()), "integer"), AGE),
    subresources=(("token", "TokenRequest", ("create",)),),
)
