# SPDX-License-Identifier: Apache-2.0
import asyncio
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from podpass.sandbox.node import pod_network
from podpass.sandbox.node.node_network import NodeNetwork
from podpass.sandbox.node.pod_network import ADDRESS, NetworkError, PodNetwork
from podpass.sandbox.node.relay import Relay

PORTLESS = {"containers": [{"name": "main"}]}


def spec(*ports: dict[str, object], **more: object) -> dict[str, object]:
    return {"containers": [{"name": "main", "ports": list(ports)}], **more}


@pytest.fixture(params=[pod_network._PRIVILEGED, pod_network._UNPRIVILEGED], ids=["privileged", "unprivileged"])
def words(request: pytest.FixtureRequest) -> Sequence[str]:
    chosen: Sequence[str] = request.param
    if subprocess.run([*chosen, "nsenter", "--version"], capture_output=True, check=False).returncode != 0:
        pytest.skip(f"this machine refuses: {' '.join(chosen)}")
    return chosen


@pytest.fixture
def some_words() -> Sequence[str]:
    chosen = pod_network.choose()
    if not chosen:
        pytest.skip("this machine gives no network namespaces")
    return chosen


@asynccontextmanager
async def echo_at(listener: socket.socket) -> AsyncIterator[None]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, sock=listener)
    try:
        yield
    finally:
        server.close()


async def echoed(connected: socket.socket, said: bytes = b"x" * 200_000) -> bool:
    reader, writer = await asyncio.open_connection(sock=connected)
    writer.write(said)
    writer.write_eof()
    try:
        return await reader.read() == said
    finally:
        writer.close()


async def opened(network: PodNetwork, number: int) -> None:
    """Wait until a port that is carried on answers."""
    while not network.relays[number].is_open:  # noqa: ASYNC110 - it learns by looking, and so does this
        await asyncio.sleep(0.01)


async def program_in(network: PodNetwork, script: str) -> str:
    process = await asyncio.create_subprocess_exec(*network.enter, "sh", "-c", script, stdout=subprocess.PIPE)
    return (await process.communicate())[0].decode()


def test_pods_network_is_its_own_and_programs_can_be_started_in_it(words: Sequence[str]) -> None:
    async def story() -> str:
        network = await PodNetwork.make(words, "10.244.0.7")
        try:
            return await program_in(network, "readlink /proc/self/ns/net; cat /proc/net/fib_trie")
        finally:
            await network.close()

    pod = asyncio.run(story())
    assert str(Path("/proc/self/ns/net").readlink()) not in pod
    assert "10.244.0.7" in pod
    assert "10.0.0.0" not in pod, "its address is one, not a whole network that loopback would answer for"


def test_sockets_are_in_the_pods_network(words: Sequence[str]) -> None:
    async def story() -> None:
        network, other = await PodNetwork.make(words, "10.244.0.7"), await PodNetwork.make(words, "10.244.0.8")
        try:
            listener = network.listen(0)
            port = listener.getsockname()[1]
            async with echo_at(listener):
                assert await echoed(await network.connect(port))
                with pytest.raises(ConnectionRefusedError):
                    await other.connect(port)
                with pytest.raises(OSError, match="unreachable"):
                    await other.connect(port, "10.244.0.7")
        finally:
            await network.close()
            await other.close()

    asyncio.run(story())


def test_machine_that_refuses_is_quoted_with_the_cure() -> None:
    words = ("sh", "-c", "echo not allowed here >&2; exit 1")
    with pytest.raises(NetworkError, match=r"not allowed here(?s:.)*user\.max_user_namespaces"):
        asyncio.run(PodNetwork.make(words, "10.244.0.7"))


def test_network_whose_process_was_killed_says_so(some_words: Sequence[str]) -> None:
    async def story() -> None:
        network = await PodNetwork.make(some_words, "10.244.0.7")
        try:
            assert network._held is not None
            network._held[0].kill()
            network._held[0].wait()
            with pytest.raises(OSError):  # noqa: PT011 - a broken pipe or the end of the file, as it happens
                network.make_socket()
        finally:
            await network.close()

    asyncio.run(story())


def test_published_port_is_reached_from_the_machine_and_from_every_other_pod(some_words: Sequence[str]) -> None:
    async def story() -> None:
        node = NodeNetwork((), some_words)
        before = await node.attach(PORTLESS)
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            number = probe.getsockname()[1]
        server = await node.attach(spec({"containerPort": 8080, "hostPort": number}))
        after = await node.attach(PORTLESS)
        machine = PodNetwork(ADDRESS)
        try:
            async with echo_at(server.listen(8080)):
                for place in (before, after):
                    await opened(place, number)
                for place in (machine, before, after, server):
                    assert await echoed(await place.connect(number))
            await node.detach(server)
            for place in (machine, before, after):
                with pytest.raises(ConnectionRefusedError):
                    await place.connect(number)
        finally:
            for network in (before, server, after):
                await node.detach(network)

    asyncio.run(story())


def test_port_that_a_pod_declares_is_its_own(some_words: Sequence[str]) -> None:
    async def story() -> None:
        with socket.socket() as taken:
            taken.bind((ADDRESS, 0))
            taken.listen()
            number = taken.getsockname()[1]
            node = NodeNetwork((number,), some_words)
            network, other = await node.attach(spec({"containerPort": number})), await node.attach(PORTLESS)
            try:
                (await other.connect(number)).close()
                async with echo_at(network.listen(number)):
                    assert await echoed(await network.connect(number))
            finally:
                await node.detach(network)
                await node.detach(other)

    asyncio.run(story())


def test_no_pod_publishes_itself_in_the_place_of_another_ones_metadata_server(some_words: Sequence[str]) -> None:
    async def story() -> None:
        node = NodeNetwork((), some_words)
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            number = probe.getsockname()[1]
        stranger = await node.attach(spec({"containerPort": 80, "hostPort": number}))
        client = {"name": "main", "env": [{"name": "GCE_METADATA_HOST", "value": f"{ADDRESS}:{number}"}]}
        network, other = await node.attach({"containers": [client]}), await node.attach(PORTLESS)
        try:
            async with echo_at(stranger.listen(80)):
                await opened(other, number)
                assert number not in network.relays
                with pytest.raises(ConnectionRefusedError):
                    await network.connect(number)
        finally:
            for each in (network, other, stranger):
                await node.detach(each)

    asyncio.run(story())


def test_port_is_published_once_and_free_again_afterwards(some_words: Sequence[str]) -> None:
    async def story() -> None:
        node = NodeNetwork((), some_words)
        with socket.socket() as holder:
            holder.bind((ADDRESS, 0))
            holder.listen()
            number = holder.getsockname()[1]
            wish = spec({"containerPort": 80, "hostPort": number})
            with pytest.raises(NetworkError, match=f"host port {number} cannot be listened on"):
                await node.attach(wish)
        first = await node.attach(wish)
        with pytest.raises(NetworkError, match=f"host port {number} is taken by another pod"):
            await node.attach(wish)
        await node.detach(first)
        await node.detach(await node.attach(wish))
        with pytest.raises(NetworkError, match="carries TCP only"):
            await node.attach(spec({"containerPort": 80, "hostPort": number, "protocol": "UDP"}))

    asyncio.run(story())


def test_pods_of_the_hosts_network_are_found_by_the_others(some_words: Sequence[str]) -> None:
    async def story() -> None:
        node = NodeNetwork((), some_words)
        listener = PodNetwork(ADDRESS).listen(0)
        number = listener.getsockname()[1]
        server = await node.attach(spec({"containerPort": number}, hostNetwork=True))
        client = await node.attach(PORTLESS)
        try:
            assert (server.is_own, server.address, server.enter) == (False, ADDRESS, ())
            async with echo_at(listener):
                await opened(client, number)
                assert await echoed(await client.connect(number))
        finally:
            await node.detach(client)
            await node.detach(server)

    asyncio.run(story())


def test_pods_that_share_the_machines_network_publish_too() -> None:
    async def story() -> None:
        node = NodeNetwork((), ())
        listener = PodNetwork(ADDRESS).listen(0)
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            number = probe.getsockname()[1]
        inside = listener.getsockname()[1]
        network = await node.attach(spec({"containerPort": inside, "hostPort": number}))
        try:
            async with echo_at(listener):
                assert await echoed(await PodNetwork(ADDRESS).connect(number))
        finally:
            await node.detach(network)

    asyncio.run(story())


@pytest.mark.parametrize("place", ["initContainers", "containers"])
def test_metadata_server_is_refused_where_pods_share_a_network(place: str) -> None:
    sidecar = {"name": "metadata", "args": ["metadata-server", "--port=8080"]}
    shared = {"containers": [{"name": "main"}]} | {place: [sidecar]}
    with pytest.raises(NetworkError, match=r"the container metadata would give the pod's tokens(?s:.)*user namespaces"):
        asyncio.run(NodeNetwork((), ()).attach(shared))


def test_published_port_refuses_connections_as_long_as_nobody_listens_behind_it(some_words: Sequence[str]) -> None:
    async def refuses(place: PodNetwork, number: int) -> None:
        with pytest.raises(ConnectionRefusedError):
            await place.connect(number)

    async def story() -> None:
        node = NodeNetwork((), some_words)
        with socket.socket() as probe:
            probe.bind((ADDRESS, 0))
            number = probe.getsockname()[1]
        server, client = await node.attach(spec({"containerPort": 8080, "hostPort": number})), await node.attach(PORTLESS)
        places = (PodNetwork(ADDRESS), client)
        try:
            for _ in range(2):
                for place in places:
                    await refuses(place, number)
                async with echo_at(server.listen(8080)):
                    await opened(client, number)
                    for place in places:
                        assert await echoed(await place.connect(number))
                # The first one to come after the server's end is cut.
                with pytest.raises(ConnectionResetError):
                    await echoed(await client.connect(number), b"x")
        finally:
            await node.detach(client)
            await node.detach(server)

    asyncio.run(story())


def test_what_breaks_one_side_of_a_relay_resets_the_other() -> None:
    async def story() -> None:
        async def connect() -> socket.socket:
            raise ConnectionRefusedError

        with socket.socket() as listener:
            listener.bind((ADDRESS, 0))
            relay = Relay(listener, connect, lambda: True)
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.close()
            relay.close()

    asyncio.run(story())


def test_what_comes_in_two_pieces_goes_on_without_a_pause() -> None:
    """Without TCP_NODELAY the second piece waits for the acknowledgement of the first, which is 40 ms late."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while pair := await reader.read(2):
            writer.write(pair + (await reader.readexactly(1) if len(pair) == 1 else b""))
        writer.close()

    async def story() -> list[float]:
        server = await asyncio.start_server(answer, ADDRESS, 0)
        network, loop = PodNetwork(ADDRESS), asyncio.get_running_loop()
        listener = network.listen(0)
        number = listener.getsockname()[1]
        relay = Relay(listener, lambda: network.connect(server.sockets[0].getsockname()[1]), lambda: True)
        took_s = []
        with await network.connect(number) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(25):
                began = loop.time()
                for piece in (b"a", b"b"):
                    await loop.sock_sendall(client, piece)
                    await asyncio.sleep(0.001)
                while await loop.sock_recv(client, 2) not in {b"ab", b"b"}:
                    pass
                took_s.append(loop.time() - began)
            client.shutdown(socket.SHUT_WR)
            await loop.sock_recv(client, 1)
        relay.close()
        server.close()
        return took_s

    # The quickest: the machine may have others to serve, and a pause would be there every time, but for the first ones of a connection.
    assert min(asyncio.run(story())[5:]) < 0.03


AGENT = """
import asyncio
from podpass.sandbox.node.pod_network import PodNetwork, choose

async def main():
    network = await PodNetwork.make(choose(), "10.244.0.7")
    print(network._held[0].pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.usefixtures("some_words")
def test_network_goes_with_an_agent_that_is_killed() -> None:
    agent = subprocess.Popen([sys.executable, "-c", AGENT], stdout=subprocess.PIPE, text=True)
    assert agent.stdout is not None
    holder = Path(f"/proc/{int(agent.stdout.readline())}")
    assert holder.exists()
    agent.send_signal(signal.SIGKILL)
    agent.communicate()
    deadline = time.monotonic() + 60
    while holder.exists() and ") Z " not in (holder / "stat").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
