# SPDX-License-Identifier: Apache-2.0
"""The images that the demo's pods name, and the commands that the sandbox runs for them."""

import sys

from podpass.sandbox.node.images import Image

LIST_BUCKETS = "podpass.dev/demo/list-buckets"
AUTH_SERVER = "podpass.dev/demo/auth-server"
AUTH_CLIENT = "podpass.dev/demo/auth-client"
_MODULES = {LIST_BUCKETS: "list_buckets", AUTH_SERVER: "auth_server", AUTH_CLIENT: "auth_client"}

IMAGES = {name: Image(name=name, command=(sys.executable, "-m", f"podpass.demo.{module}"), env={}) for name, module in _MODULES.items()}
