# SPDX-License-Identifier: Apache-2.0
"""The two checksums that Cloud Storage tells of every object, in its own spelling: base64 of the big-endian digest."""

import base64
import hashlib

import google_crc32c


def md5_base64(media: bytes) -> str:
    """Return the `md5Hash` of an object's bytes."""
    return base64.b64encode(hashlib.md5(media, usedforsecurity=False).digest()).decode()


def crc32c_base64(media: bytes) -> str:
    """Return the `crc32c` (Castagnoli) of an object's bytes."""
    return base64.b64encode(google_crc32c.value(media).to_bytes(4, "big")).decode()
