# SPDX-License-Identifier: Apache-2.0
"""Calls to Google's APIs: plain REST over one connection pool, with the operator's credentials.

- `operator.py` finds the operator's credentials; `connections.py` makes the pool; `rest.py` sends requests, waits, repeats what may be
  repeated; `backoff.py` says how long.
- `fault.py` reads Google's error bodies and says what to do about them.
- One file an API: `iam.py`, `projects.py`, `storage.py`, `services.py`: a function a call, JSON in and out, as Google writes it.
- `policy.py` edits IAM policies (pure); `policy_edit.py` does so safely on a live one.

No file here knows what podpass wants; it knows what Google takes.
"""
