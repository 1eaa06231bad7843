# SPDX-License-Identifier: Apache-2.0
"""What a source of subject tokens is."""

from typing import Protocol

from podpass.names import Secret


class SubjectTokenSource(Protocol):
    """Reads a subject token; `str` names the place for people."""

    def read(self) -> Secret[str]:
        """Return the token as it is now.

        Raises:
            SourceUnavailableError: There is none.
        """
        ...
