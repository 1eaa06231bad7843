# SPDX-License-Identifier: Apache-2.0
"""Workload identity for Kubernetes outside GKE: federate, deliver, guard, rehearse."""

__version__ = "0.1.0"
