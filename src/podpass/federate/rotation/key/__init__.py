# SPDX-License-Identifier: Apache-2.0
"""Rotates the key that a cluster signs its tokens with.

`rotation` is the state of one, and the order of its steps (pure). `secrets` finds tokens that never end; `single_key` says what is refused
where a cluster can have one key only.
"""
