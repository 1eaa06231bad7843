# SPDX-License-Identifier: Apache-2.0
"""How each distribution of Kubernetes, or family of them, is recognised, and who looks after its keys."""
