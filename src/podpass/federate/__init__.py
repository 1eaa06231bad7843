# SPDX-License-Identifier: Apache-2.0
"""Keeps Google's side of a cluster as one declared file says.

Read the files in this order; it is the way that a federation file takes::

    selection  the workloads that the file does not name: whom its selectors find now; `reach`: who can make it more
    facts      what the cluster and the project say about themselves
    desired    file + facts -> resources, each with an address `kind/name` (`principals`, `condition`, `documents` help)
    observed   the same resources as they are now; `survey` asks for them and for the facts, all at once
    receipt    what podpass made, kept in the cluster (`receipt_store`, `own_namespace`), written before the act (`bookkeeping`)
    diff       desired + observed + receipt -> changes; `lapse`: where each comes from
    safety     what podpass refuses to do, and what it warns about; `permissions`: what the operator must be allowed;
               `limits`: Google's, ahead
    plan       the changes as data, to show, to keep, to compare; `planning` makes one
    steps      changes -> a graph of steps
    apply      the steps made true: `run` as parallel as the graph allows, `acts` and `kinds` the calls, by one person at a `turn`
    destroy    the way back: what the receipt says that apply made, nothing else
    doctor     a real token walks the chain; `explain` judges one offline
    script, manifests, draft     what is exported, and a first file

`marks` tells how podpass signs what it makes. Nothing here prints.
"""
