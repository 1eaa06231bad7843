# SPDX-License-Identifier: Apache-2.0
"""The images that the demo's pods name, and the commands that the sandbox runs for them."""

import sys

from podpass.sandbox.node.images import Image

LIST_BUCKETS = "podpass.dev/demo/list-buckets"

IMAGES = {image.name: image for image in (Image(name=LIST_BUCKETS, command=(sys.executable, "-m", "podpass.demo.list_buckets"), env={}),)}
