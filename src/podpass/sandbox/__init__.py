# SPDX-License-Identifier: Apache-2.0
"""A small universe on loopback: Google's side, Kubernetes' side, and a proxy that lets nothing else out."""
