# SPDX-License-Identifier: Apache-2.0
import asyncio
import gc
import warnings

import httpx2
import pytest

from podpass.sandbox.steady_client import SteadyClient


async def cancelled_amid_a_handshake(client: httpx2.AsyncClient) -> int:
    """Ask a server that takes connections and says nothing; cancel; let the server hang up, and close. Return the server's port."""
    greeted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)  # the handshake has begun
        greeted.put_nowait(writer)

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    asking = asyncio.create_task(client.get(f"https://127.0.0.1:{port}/"))
    writer = await greeted.get()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    writer.close()
    await client.aclose()
    server.close()
    return port


def leaves_open(client: httpx2.AsyncClient) -> bool:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        port = asyncio.run(cancelled_amid_a_handshake(client))
        gc.collect()
    return any(f"raddr=('127.0.0.1', {port})" in str(warning.message) for warning in caught)


@pytest.mark.filterwarnings("ignore")
def test_connection_that_is_cancelled_amid_its_handshake_is_closed() -> None:
    timeout = httpx2.Timeout(30)
    assert not leaves_open(SteadyClient(trust_env=False, timeout=timeout))
    # The day this fails, SteadyClient has done its duty and can go.
    assert leaves_open(httpx2.AsyncClient(trust_env=False, timeout=timeout))
