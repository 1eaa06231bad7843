# SPDX-License-Identifier: Apache-2.0
"""Leases: by renewing one a node says that it lives."""

from lightkube.models.coordination_v1 import Lease

from podpass.sandbox.kubernetes.kind import AGE, NAME, Column, Kind

LEASE = Kind(
    Lease,
    "leases",
    group="coordination.k8s.io",
    columns=(NAME, Column("Holder", lambda obj, _: (obj.get("spec") or {}).get("holderIdentity", "")), AGE),
    lasting=False,
)
