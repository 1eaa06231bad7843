# SPDX-License-Identifier: Apache-2.0
from podpass.cli.roll import nobody_in_control
from podpass.federate.clusters.evidence import Evidence, Node


def test_nodes_that_may_not_be_listed_are_told_from_nodes_without_the_label() -> None:
    locked = nobody_in_control(Evidence("https://10.0.0.1:6443", "v1.34.1", silent={"nodes": "The cluster refused to list nodes."}))
    assert (locked.why, locked.next_step) == ("The cluster refused to list nodes.", "Let the operator list nodes.")
    bare = nobody_in_control(Evidence("https://10.0.0.1:6443", "v1.34.1", nodes=(Node("one"),)))
    assert bare.why == "The cluster lists 1, none with the label node-role.kubernetes.io/control-plane."
    assert "kubectl label node NAME" in bare.next_step
