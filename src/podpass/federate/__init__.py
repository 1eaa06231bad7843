# SPDX-License-Identifier: Apache-2.0
"""Keeps Google's side of a cluster as one declared file says.

Read the files in this order; it is the way that a federation file takes::

    facts      what the cluster and the project say about themselves
    desired    file + facts -> resources, each with an address `kind/name`
    observed   the same resources as they are now, read live and in parallel
    receipt    what podpass made, kept in the cluster, written before the act
    diff       desired + observed + receipt -> changes
    plan       the changes as data, to show, to keep, to compare
    safety     what podpass refuses to do, and what it warns about
    steps      changes -> a graph of steps
    apply      the steps, as parallel as the graph allows
    destroy    the way back: what the receipt says that apply made, nothing else
    doctor     a real token walks the chain

`acts` knows how each kind of resource is made, changed and taken away; `marks` how podpass signs what it makes. Nothing here prints.
"""
