# SPDX-License-Identifier: Apache-2.0
"""The images that the demo's pods name, and the commands that the sandbox runs for them."""

import os
import sys
from pathlib import Path

from podpass.sandbox.node.images import Image

LIST_BUCKETS = "podpass.dev/demo/list-buckets"
PODPASS = "podpass.dev/podpass"
AUTH_SERVER = "podpass.dev/demo/auth-server"
AUTH_CLIENT = "podpass.dev/demo/auth-client"
_MODULES = {LIST_BUCKETS: "list_buckets", AUTH_SERVER: "auth_server", AUTH_CLIENT: "auth_client"}

IMAGES = {name: Image(name=name, command=(sys.executable, "-m", f"podpass.demo.{module}"), env={}) for name, module in _MODULES.items()}
# The product's own image: its entry point is the command, which is on the path, too, for probes.
_PATH = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))
IMAGES[PODPASS] = Image(name=PODPASS, command=(sys.executable, "-m", "podpass.cli"), env={"PATH": _PATH})
