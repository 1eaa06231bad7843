# SPDX-License-Identifier: Apache-2.0
"""Whose a thing is, since podpass changes and takes away its own only.

`witness` hears who besides the receipt says that a thing is podpass's, `move_witness` who besides its state says that a move is about these
issuers. `siblings` are the other federations of the cluster, which may have given the same; `foreign_receipt` is one that is not believed.
"""
