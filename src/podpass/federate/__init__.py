# SPDX-License-Identifier: Apache-2.0
"""Keeps Google's side of a cluster as one declared file says.

Read the rooms in this order; it is the way that a federation file takes, and each imports only what stands above it::

    model      the nouns: resource, mark, facts, change, plan, objection
    records    what podpass writes down in the cluster: the receipt of what it made, before the act; a rotation that has begun
    desired    file + facts -> resources, each with an address `kind/name`; selectors -> workloads
    kinds      how each kind of resource is read, made and taken away
    clusters   the cluster itself, and how its control plane is changed
    export     what people keep or run themselves: a first file, a script, manifests
    observed   the same resources as they are now, asked for together with the facts; what the operator must be allowed
    ownership  whose a thing is: who besides the receipt says that it is podpass's
    safety     what podpass refuses to do, what it does only when it is told to, and what it warns about
    planning   desired + observed + receipt -> changes -> a plan: data, to show, to keep, to compare
    execution  the plan made true by one person at a time, as parallel as it can be; and the way back, `destroy`
    doctor     a real token walks the chain
    rotation   another signing key, another issuer: plans made true around what a person does to the control plane

`explain` judges a token as Google would, without asking anybody. Nothing here prints.
"""
