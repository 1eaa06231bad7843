# SPDX-License-Identifier: Apache-2.0
"""The key cache under gevent: threads are greenlets there, and waiting lets others run. A process of its own, since patching lasts."""

import subprocess
import sys
from pathlib import Path

import pytest

from issuer_server import IssuerServer

PROGRAM = """
from gevent import monkey
monkey.patch_all()

import sys
import gevent
from pathlib import Path
from podpass.discovery.key_ring import KeyRing
from podpass.discovery.patience import patiently
from podpass.names import Issuer
from podpass.policy import TrustedIssuer

ticks, is_over = 0, False

def tick():
    global ticks
    while not is_over:
        ticks += 1
        gevent.sleep(0.001)

ticker = gevent.spawn(tick)
with KeyRing(ca_file=Path(sys.argv[2])) as ring:
    keys = ring.keys_of(TrustedIssuer("c", "oidc", Issuer(sys.argv[1])))
    asking = [gevent.spawn(patiently, lambda: keys.find("k1")) for _ in range(50)]
    gevent.joinall(asking, timeout=60, raise_error=True)
    is_over = True
    print({greenlet.value.kid for greenlet in asking}, ticks > 1)
"""


def test_fifty_greenlets_wait_for_one_fetch_and_let_others_run(issuer: IssuerServer, ca_file: Path) -> None:
    pytest.importorskip("gevent", reason="pip install gevent")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, issuer.issuer.url, str(ca_file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "{'k1'} True\n", done.stderr
    assert issuer.fetches == 1
