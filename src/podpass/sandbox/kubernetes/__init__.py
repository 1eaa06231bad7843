# SPDX-License-Identifier: Apache-2.0
"""Kubernetes' side of the sandbox: an API server (`KubernetesApi`), and the job controller (`jobs`), which is a client of it.

A request goes `server` (who asks, may they) -> `resources` (which verb of what) -> `reading` or `writing` -> `objects`, `object_rules` and
`garbage` (the life of objects) -> the store. What a kind is stands in `kinds`, one row each. Small on purpose: what is not here answers 501
and names the way to a real control plane.
"""

from podpass.sandbox.kubernetes.api import KubernetesApi

__all__ = ["KubernetesApi"]
