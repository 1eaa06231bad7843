# SPDX-License-Identifier: Apache-2.0
"""The projected token file of a pod, read anew each time: kubelet swaps it when 80 % of the token's life is over."""

import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from podpass.errors import SourceUnavailableError
from podpass.names import Secret

LIMIT_BYTES: Final = 64 * 1024
_CODE = "credential.token-file"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A token in a file.

    Attributes:
        path: The file.
        field: The member that holds the token, where the file is JSON; None: the file is the token.
        audience: Whom the token is for, to be named in the volume that an error advises.
    """

    path: Path
    field: str | None = None
    audience: str | None = None

    def read(self) -> Secret[str]:
        """Return the token; white space around it is not part of it.

        Raises:
            SourceUnavailableError: No such file, not readable, empty, larger than 64 KiB, or without the member.
        """
        try:
            with open(self.path, "rb", opener=_at_once) as file:
                raw = file.read(LIMIT_BYTES + 1) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else None
        except FileNotFoundError:
            raise self._unavailable("does not exist", self.volume()) from None
        except PermissionError as error:
            cure = "Set securityContext.fsGroup on the pod, so that kubelet gives the file to the container's user."
            raise self._unavailable("may not be read by this user", cure) from error
        except OSError as error:
            raise self._unavailable(f"cannot be read: {error.strerror}", self.volume()) from error
        if raw is None:
            raise self._unavailable("is no file", self.volume())
        if len(raw) > LIMIT_BYTES:
            raise self._unavailable(f"has more than {LIMIT_BYTES} bytes, so it is no token", "Check the path.")
        text = self._text(raw).strip()
        if not text:
            raise self._unavailable("is empty", self.volume())
        if not (text.isascii() and text.isprintable()):
            raise self._unavailable("holds characters that no token has", "Check the path.")
        return Secret(text, "subject token")

    def __str__(self) -> str:
        return f"file {self.path}"

    def _text(self, raw: bytes) -> str:
        # No `from error` here: the decoders' errors hold what they could not decode.
        try:
            text = raw.decode("ascii")
        except UnicodeDecodeError:
            raise self._unavailable("holds bytes that no token has", "Check the path.") from None
        if self.field is None:
            return text
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise self._unavailable("is not JSON", "Check the path, or read it as text.") from None
        value = content.get(self.field) if isinstance(content, dict) else None
        if not isinstance(value, str):
            raise self._unavailable(f"has no member {self.field!r} with a text", "Check the path and the member's name.")
        return value

    def volume(self) -> str:
        """Return the sentence that says which volume brings the file."""
        audience = self.audience or "the full name of the provider: //iam.googleapis.com/projects/…"
        return (
            f"Declare a projected volume in the pod, and mount it at {self.path.absolute().parent}: a serviceAccountToken with "
            f"path {self.path.name!r}, audience {audience!r} and expirationSeconds 3600."
        )

    def _unavailable(self, fault: str, next_step: str) -> SourceUnavailableError:
        return SourceUnavailableError(f"There is no subject token: {self.path} {fault}.", "", next_step, code=_CODE)


def _at_once(path: str, flags: int) -> int:
    # A pipe without a writer would keep the reading thread for ever, and with it the end of the process.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
