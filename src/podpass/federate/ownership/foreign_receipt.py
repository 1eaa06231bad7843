# SPDX-License-Identifier: Apache-2.0
"""A receipt that is not this federation's: copied, restored, or written by somebody else. Nothing is done on its word. Pure.

Its federation and cluster are those of the marks that bear it out, so another's would have another's things taken away.
"""

from collections.abc import Iterator

from podpass.federate.model.objection import Objection
from podpass.federate.records.receipt import NAMESPACE, Receipt, config_map_name
from podpass.names.quoting import quoted


def objections(receipt: Receipt, federation: str, cluster: str, cure: str) -> Iterator[Objection]:
    """Return why a receipt that was found in a cluster is not believed.

    Args:
        receipt: It.
        federation: Whose it has to be.
        cluster: The identity of the cluster that it was found in.
        cure: What to do where its own cluster is gone.
    """
    if receipt.federation != federation:
        name = f"{NAMESPACE}/{config_map_name(federation)}"
        yield Objection(
            "plan.other-federation",
            f"The receipt {name} is that of the federation {quoted(receipt.federation)}, not of {federation}.",
            "It was copied, or written by somebody else: podpass keeps each federation's receipt under its own name.",
            f"Restore it from a backup, or delete the config map {name} and apply with --adopt ADDRESS for each thing that the plan lists.",
        )
    elif receipt.cluster != cluster:
        yield Objection(
            "plan.other-cluster",
            f"The receipt in this cluster was written in another one ({quoted(receipt.cluster)}; this is {cluster}).",
            "It was restored from a backup or copied, and the other cluster may still rest on what the receipt lists.",
            f"If that cluster is gone, {cure}.",
        )


def of_another_project(receipt: Receipt, project: str) -> Iterator[Objection]:
    """Return why a plan for a project cannot begin with this receipt."""
    if receipt.entries and receipt.project != project:
        yield Objection(
            "plan.other-project",
            f"This cluster's federation {receipt.federation} was made in project {receipt.project}, not in {project}.",
            "Its receipt lists what podpass made there.",
            f"Run `podpass destroy` with the file that names {receipt.project} first, or give this federation another name.",
        )
