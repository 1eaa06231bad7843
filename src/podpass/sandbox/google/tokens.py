# SPDX-License-Identifier: Apache-2.0
"""Access tokens that carry their own facts under a seal, so that a restarted sandbox still knows them.

Clients see an opaque string that begins with `ya29.`, as Google's do.
"""

import base64
import hashlib
import hmac

import msgspec

from podpass.sandbox.store import Json

_PREFIX = "ya29."


class Tokens:
    """Make and read sealed tokens.

    Args:
        key: The secret of the seal; whoever has it can be anybody in this universe.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, facts: Json, purpose: str = "access") -> str:
        """Make a token of JSON facts; it is read back for the same purpose only."""
        payload = msgspec.json.encode(facts)
        mac = hmac.digest(self._key, purpose.encode() + b"\0" + payload, hashlib.sha256)
        return _PREFIX + base64.urlsafe_b64encode(mac + payload).decode().rstrip("=")

    def open(self, token: str, purpose: str = "access") -> Json | None:
        """Return the facts of a token, or None for one that this universe did not make."""
        try:
            raw = base64.urlsafe_b64decode(token.removeprefix(_PREFIX) + "===")
        except ValueError:
            return None
        mac, payload = raw[:32], raw[32:]
        if not hmac.compare_digest(mac, hmac.digest(self._key, purpose.encode() + b"\0" + payload, hashlib.sha256)):
            return None
        facts: Json = msgspec.json.decode(payload)
        return facts
