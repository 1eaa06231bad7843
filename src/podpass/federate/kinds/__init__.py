# SPDX-License-Identifier: Apache-2.0
"""How each kind of resource is read, made, changed and taken away: one file a kind, over the calls of `google` and `kube`.

Every act may be done twice: an interrupted run is repeated, and so is a step that Google was not ready for. What a `create` finds in
place is accepted only where it bears this federation's mark.
"""
