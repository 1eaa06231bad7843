# SPDX-License-Identifier: Apache-2.0
"""Rotates the key that a cluster signs its tokens with, so that no token is refused on the way.

`rotation` is the state of one, and the order of its steps (pure); `ledger` keeps it in the cluster; `servers` asks each API server what it
serves and signs with; `gates` say what has to hold before the next step; `instructions` what a person does to the control plane; `walk`
goes from step to step.
"""
