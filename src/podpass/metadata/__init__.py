# SPDX-License-Identifier: Apache-2.0
"""The metadata server: what Google's clients ask on a Google machine, answered in a pod of any cluster.

- `incoming.py` takes a request apart and refuses what no client of Google's sends.
- `tree.py` is the tree of values of one workload; `answers.py` turns a request and that tree into an answer, or into what it needs.
  Both are pure.
- `refusals.py` says in GKE's words, and then in podpass's, why there is no token.
- `caller.py` is the port behind which somebody knows who is asking. `sidecar.py` knows by construction: its own pod.
- `account.py` decides which identity that pod has: the operator's settings, and within them the account's annotations.
- `asgi.py` is the shell, `serving.py` the process around it.
"""
