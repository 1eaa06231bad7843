# SPDX-License-Identifier: Apache-2.0
"""From a file's bytes to a `Federation`."""

from pathlib import Path

from podpass.config.federation import Federation


def read_file(path: Path) -> Federation:
    """Read a federation file; see `federation.load`."""
    raise NotImplementedError(path)
