# SPDX-License-Identifier: Apache-2.0
"""A server that loads the application, forks at once, and judges in the workers: no lock of a thread may stay locked there."""

import os
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import httpx2
import pytest

from token_forge import AUDIENCE, kubernetes_claims, rsa_signer

# Nobody listens there, so the first answer is 503; a worker that hangs gives none.
ISSUER = "https://127.0.0.1:9"
# gevent's own rule for what is loaded before its workers are: patch before anything imports ssl.
FIRST = {"sync": "", "gevent": "import gevent.monkey; gevent.monkey.patch_all()"}
PROGRAM = """{first}
from podpass.guard import Guard
from podpass.guard.wsgi import GuardMiddleware

app = GuardMiddleware(lambda environ, start: [], Guard.from_env())
"""


@pytest.mark.skipif(find_spec("gunicorn") is None, reason="gunicorn is not installed: `make check` installs it")
@pytest.mark.parametrize("worker", ["sync", "gevent"])
def test_workers_of_a_preloaded_application_answer(worker: str, tmp_path: Path) -> None:
    (tmp_path / "served.py").write_text(PROGRAM.format(first=FIRST[worker]))
    listener = socket.create_server(("127.0.0.1", 0))
    command = [sys.executable, "-m", "gunicorn", "--preload", "-k", worker, "-b", f"fd://{listener.fileno()}"]
    command += ["--no-control-socket", "served:app"]
    environ = {**os.environ, "ID_ISSUER": ISSUER, "JWT_AUDIENCE": AUDIENCE}
    token = rsa_signer().token(kubernetes_claims(iss=ISSUER))
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environ, pass_fds=[listener.fileno()], stdout=log, stderr=log) as server,
    ):
        try:
            headers = {"Authorization": f"Bearer {token}"}
            port = listener.getsockname()[1]
            assert httpx2.get(f"http://127.0.0.1:{port}/", headers=headers, timeout=60, trust_env=False).status_code == 503
        finally:
            server.kill()
            listener.close()
    (decision,) = (line for line in (tmp_path / "log").read_text().splitlines() if '"verdict"' in line)
    assert "Connection refused" in decision  # the worker has asked, and has not waited in vain for its own threads
