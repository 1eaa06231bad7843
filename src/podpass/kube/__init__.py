# SPDX-License-Identifier: Apache-2.0
"""Calls to a cluster's API server, as the operator: the few that podpass needs, over one connection pool.

- `kubeconfig.py` finds the cluster and the credentials as kubectl does (lightkube reads and connects), in the files that
  `kubeconfig_files.py` finds and merges; `exec_credential.py` runs the credential plugins that managed clusters use.
- `client.py` sends requests; `fault.py` reads Kubernetes' Status objects and says what to do about them.
- `config_maps.py`, `objects.py`, `issuer.py`, `tokens.py`, `reviews.py`: a function a call.
"""
