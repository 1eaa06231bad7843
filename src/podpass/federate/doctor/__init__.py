# SPDX-License-Identifier: Apache-2.0
"""Walks the chain from the cluster's issuer to a call, with a real token for each workload, and names the first link that is broken.

The links, in order: issuer, provider, keys; then for each workload token, mapping, condition (judged here, as Google judges, so that the
reason is known), exchange (asked of Google), principal, binding, role, call, credentials (what its pods mount). What comes after a broken
link is not reached.

`patient` is what is examined; `published` reads an issuer's documents as Google does, `clocks` compares what both sides take for now.
"""

from podpass.federate.doctor.cluster_links import of_the_cluster
from podpass.federate.doctor.link import Link
from podpass.federate.doctor.patient import Patient
from podpass.federate.doctor.workload_links import of_workload

__all__ = ["Link", "Patient", "of_the_cluster", "of_workload"]
