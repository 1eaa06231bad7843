# SPDX-License-Identifier: Apache-2.0
"""Runs `podpass` in forked children, one a line of stdin: `{"arguments", "environment", "output"}`; answers `pid N`, then `exit N`.

A process of its own, with one thread, so that forking it is safe.
"""

import json
import os
import signal
import sys
import traceback
from datetime import timedelta
from importlib import import_module
from typing import Any

from podpass.cli import main

# What a child would import first thing; none of it keeps what it read from the environment.
for name in ("plan", "apply", "destroy", "plan_view", "rotate", "rotate_key", "rotate_issuer"):
    import_module(f"podpass.cli.{name}")
for name in ("execution.apply", "execution.destroy", "planning.prepared"):
    import_module(f"podpass.federate.{name}")
for name in ("google.operator", "kube.client", "config.reading"):
    import_module(f"podpass.{name}")
import_module("google.oauth2.credentials")
for name in ("key.secrets", "key.beginning", "key.sides", "issuer.beginning", "issuer.sides"):
    import_module(f"podpass.federate.rotation.{name}")
# One server, which nobody has to wait for, nor for kubelets: a walk runs a rotation hundreds of times.
for module, constant, value in (("servers", "_TIMES", 2), ("walk", "POLL_S", 0.1), ("issuer.walk", "BROUGHT", timedelta(seconds=1))):
    vars(import_module(f"podpass.federate.rotation.{module}"))[constant] = value


def child(task: dict[str, Any]) -> None:
    os.environ.update(task["environment"])
    output = os.open(task["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    code = 1
    try:
        main(task["arguments"])
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:  # noqa: BLE001 - a child must not come back into the loop below
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# However the tests were started: what a shell runs in the background ignores Ctrl-C, and so would the children.
signal.signal(signal.SIGINT, signal.default_int_handler)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        child(json.loads(line))
    print(f"pid {pid}", flush=True)
    print(f"exit {os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}", flush=True)
