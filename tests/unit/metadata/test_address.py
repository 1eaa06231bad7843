# SPDX-License-Identifier: Apache-2.0
"""Where the server listens: on the loopback of a network that is the pod's alone, or not at all."""

import logging
import socket

import pytest

from podpass.errors import ConfigError
from podpass.metadata.address import Address, bind, require_own_network

IN_POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


@pytest.mark.parametrize(
    ("text", "address"),
    [("127.0.0.1:8987", Address("127.0.0.1", 8987)), ("[::1]:80", Address("::1", 80)), ("127.0.0.2:0", Address("127.0.0.2", 0))],
)
def test_an_address_and_a_port_are_read(text: str, address: Address) -> None:
    assert Address.parse(text) == address
    assert str(address) == text
    assert address.is_loopback


@pytest.mark.parametrize("text", ["", "8987", "localhost:8987", "127.0.0.1", "127.0.0.1:http", "127.0.0.1:65536", "127.0.0.1:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="is no address to listen on"):
        Address.parse(text)


@pytest.mark.parametrize("text", ["0.0.0.0:0", "[::]:0", "10.0.0.7:0"])
def test_another_address_than_a_loopback_one_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="Whoever reached it there could ask for this pod's tokens"):
        bind(Address.parse(text))


def test_another_address_is_allowed_in_so_many_words_and_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), bind(Address.parse("0.0.0.0:0"), insecure_any_address=True):
        assert "Whoever reaches 0.0.0.0:0 can ask for this pod's tokens." in caplog.messages


def test_a_port_that_is_taken_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1"):
        bind(Address("127.0.0.1", other.getsockname()[1]))


def test_a_client_that_comes_before_the_server_can_answer_is_kept_waiting() -> None:
    with bind(Address("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as early:
        assert early.getpeername() == listening.getsockname()


@pytest.mark.parametrize(("host", "pod"), [("10.0.0.7", "10.0.0.7"), ("127.0.0.1", "127.0.0.1"), ("FD00:0::7", "fd00::7")])
def test_a_pod_that_has_the_node_s_address_is_refused(host: str, pod: str) -> None:
    with pytest.raises(ConfigError, match=r"shares the network of its node \(hostNetwork\)"):
        require_own_network({**IN_POD, "PODPASS_HOST_IP": host, "PODPASS_POD_IP": pod})


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"PODPASS_HOST_IP": "10.0.0.7"},
        {"PODPASS_POD_IP": "10.0.0.7"},
        {"PODPASS_HOST_IP": "", "PODPASS_POD_IP": ""},
        {"PODPASS_HOST_IP": "10.0.0.7", "PODPASS_POD_IP": "$(POD_IP)"},
    ],
)
def test_a_pod_that_does_not_say_is_refused(more: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"Set PODPASS_HOST_IP from the field status\.hostIP"):
        require_own_network({**IN_POD, **more})


def test_a_pod_that_says_half_is_refused_also_without_the_variables_of_its_cluster() -> None:
    with pytest.raises(ConfigError, match="does not say whether it shares the network"):
        require_own_network({"PODPASS_POD_IP": "10.0.0.7"})


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {**IN_POD, "PODPASS_HOST_IP": "10.0.0.7", "PODPASS_POD_IP": "10.244.0.9"},
    ],
)
def test_no_pod_and_a_pod_with_an_address_of_its_own_may_serve(environ: dict[str, str]) -> None:
    require_own_network(environ)
