# SPDX-License-Identifier: Apache-2.0
"""Moves a cluster to another issuer.

The state of a move, and the order of its steps, is `federate.records.issuer_move`: a plan that is made meanwhile follows from it.
`pods` are those that feel something of it.
"""
