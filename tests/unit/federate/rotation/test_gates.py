# SPDX-License-Identifier: Apache-2.0
from podpass.federate.rotation.gates import answered
from podpass.federate.rotation.servers import ControlPlane


def test_of_many_silent_servers_some_are_named_and_all_are_counted() -> None:
    plane = ControlPlane((), is_complete=True, silent=tuple(f"s{number}: gone" for number in range(40)))
    *named, rest = answered(plane)
    assert named == [f"No answer: s{number}: gone" for number in range(5)]
    assert rest == "No answer from 35 more of the API servers that the cluster lists."
