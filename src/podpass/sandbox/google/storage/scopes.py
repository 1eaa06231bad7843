# SPDX-License-Identifier: Apache-2.0
"""Which OAuth scopes reach which methods of Cloud Storage [R]."""

_BASE = "https://www.googleapis.com/auth/devstorage"

FULL = (f"{_BASE}.full_control",)
WRITE = (*FULL, f"{_BASE}.read_write")
READ = (*WRITE, f"{_BASE}.read_only", "https://www.googleapis.com/auth/cloud-platform.read-only")
