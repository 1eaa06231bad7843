# SPDX-License-Identifier: Apache-2.0
"""Google's side: each service is a table of declared methods, the dispatcher does for all of them what Google does for all of them.

Authentication, IAM, disabled APIs, the request log and the answer to an unknown method live in `dispatcher`; a service holds only what
makes it that service. A guessed behaviour carries its basis: [O] observed, [R] reference, [M] measured by others, [K] common knowledge,
[?] not confirmed. `google-behaviour: policies` is a section of docs/reference/google-behaviour.md.
"""
