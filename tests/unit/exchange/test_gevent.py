# SPDX-License-Identifier: Apache-2.0
"""The token cache under gevent: threads are greenlets there, and waiting lets others run. A process of its own, since patching lasts."""

import subprocess
import sys

import pytest

from google_desk import GoogleDesk
from loopback_server import LoopbackServer
from podpass.clock import SystemClock

PROGRAM = """
from gevent import monkey
monkey.patch_all()

import sys
import gevent
from podpass.exchange.endpoints import Endpoints
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.workload_tokens import WorkloadTokens
from podpass.names import GoogleServiceAccount, ProviderName, Secret

ticks, is_over = 0, False

def tick():
    global ticks
    while not is_over:
        ticks += 1
        gevent.sleep(0.001)

class Source:
    def read(self):
        return Secret("eyJ.e30.c2ln", "subject token")

provider = ProviderName.parse("projects/123/locations/global/workloadIdentityPools/demo-pool/providers/demo-provider")
account = GoogleServiceAccount("wif-demo-sa@demo-project.iam.gserviceaccount.com")
exchanger = Exchanger(provider, service_account=account, endpoints=Endpoints(sys.argv[1], sys.argv[1]))
ticker = gevent.spawn(tick)
with WorkloadTokens(Source(), exchanger, background=True) as tokens:
    asking = [gevent.spawn(tokens.access_token) for _ in range(50)]
    gevent.joinall(asking, timeout=60, raise_error=True)
    is_over = True
    print(len({greenlet.value.value.reveal() for greenlet in asking}), ticks > 1)
"""


def test_fifty_greenlets_wait_for_one_exchange_and_let_others_run() -> None:
    pytest.importorskip("gevent", reason="pip install gevent")
    desk = GoogleDesk(SystemClock())
    with LoopbackServer(desk.answer) as server:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROGRAM, server.url], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.stdout == "1 True\n", done.stderr
    assert desk.counts == {"token": 1, "generateAccessToken": 1}
