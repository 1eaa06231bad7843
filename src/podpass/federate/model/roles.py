# SPDX-License-Identifier: Apache-2.0
"""The roles that podpass gives of its own accord, beside those that a federation file names."""

from typing import Final

WORKLOAD_IDENTITY_USER: Final = "roles/iam.workloadIdentityUser"
"""Lets a principal act as a Google account."""
PUBLIC_READER: Final = "roles/storage.legacyObjectReader"
"""Lets everybody read an object whose name they know, and nobody list the bucket."""
