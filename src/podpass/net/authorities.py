# SPDX-License-Identifier: Apache-2.0
"""The certificate authorities that the environment names: a file that cannot be used is the operator's mistake, and is told as one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from podpass.errors import ConfigError


@contextmanager
def of_the_environment() -> Iterator[None]:
    """Make a client within this that heeds SSL_CERT_FILE.

    Raises:
        ConfigError: The file that it names is not there, cannot be read or holds no certificate. OpenSSL's own words name no file.
    """
    try:
        yield
    except OSError as error:
        named = os.environ.get("SSL_CERT_FILE")
        if not named:
            raise
        raise ConfigError(
            f"The certificate authorities in {named} cannot be used.",
            f"{error.strerror or error}.",
            "SSL_CERT_FILE names that file: correct it, or unset it to trust the authorities of this machine.",
            code="config.ca-file",
        ) from error
