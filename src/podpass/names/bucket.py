# SPDX-License-Identifier: Apache-2.0
"""The names of Cloud Storage's buckets."""

import re

from podpass.errors import ConfigError
from podpass.names.quoting import quoted

# Google (Cloud Storage, bucket naming): 3 to 63 characters, up to 222 with dots, each part at most 63. [K]
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]")
_DOTTED_IP = re.compile(r"\d{1,3}(\.\d{1,3}){3}")
_PART_LIMIT_CHARS = 63


def check_bucket_name(text: str) -> str:
    """Return the name of a bucket, unless Google would refuse it.

    Raises:
        ConfigError: Length, alphabet, ends, an IP address, or Google's own name in it.
    """
    parts = text.split(".")
    if not _NAME.fullmatch(text) or any(not 1 <= len(part) <= _PART_LIMIT_CHARS for part in parts):
        why = "A name has 3 to 63 of a-z, 0-9, '-', '_' and '.', and begins and ends with a letter or digit."
    elif _DOTTED_IP.fullmatch(text):
        why = "A name must not look like an IP address."
    elif text.startswith("goog") or "google" in text or "g00gle" in text:
        why = "A name must not begin with 'goog' nor hold 'google'."
    else:
        return text
    raise ConfigError(
        f"{quoted(text)} cannot be the name of a bucket.", why, "Choose another name; write it without gs://.", code="config.bucket"
    )
