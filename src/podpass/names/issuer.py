# SPDX-License-Identifier: Apache-2.0
"""A cluster's issuer URL, compared byte for byte."""

from typing import Self

import msgspec

from podpass.errors import ConfigError
from podpass.names.quoting import quoted


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(
        f"{quoted(text)} cannot be an issuer.",
        why,
        "Write the issuer exactly as the cluster's tokens carry it in `iss`: https://HOST[/PATH].",
        code="config.issuer",
    )


class Issuer(msgspec.Struct, frozen=True):
    """An `iss` value: an https URL without query and fragment. Equality is equality of the bytes.

    Source:
        OpenID Connect Discovery 1.0, 4.1 and 4.3; RFC 8414, 3.
    """

    url: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Refuse what is not an https issuer; change nothing, not even a trailing slash.

        Raises:
            ConfigError: Not https, no host, user information, a query, a fragment, white space.
        """
        from urllib.parse import urlsplit  # noqa: PLC0415 - costs as much as a quarter of the guard, which reads issuers with a policy only

        if any(character.isspace() or ord(character) < 0x21 for character in text):  # noqa: PLR2004 - the first printable
            raise _refused(text, "It holds white space.")
        try:
            parts = urlsplit(text)
            port_is_sound = parts.port is None or parts.port > 0
        except ValueError:
            raise _refused(text, "It is not a URL.") from None
        if parts.scheme != "https":
            raise _refused(text, f"Its scheme is {quoted(parts.scheme or 'missing')}; Google and every verifier demand https.")
        if not parts.hostname or not port_is_sound:
            raise _refused(text, "It names no host.")
        if parts.username is not None or parts.password is not None:
            raise _refused(text, "It holds a user name or password.")
        if "?" in text or "#" in text:
            raise _refused(text, "It holds a query or a fragment; kube-apiserver then publishes no discovery document.")
        return cls(text)

    @property
    def discovery_url(self) -> str:
        """Where its discovery document is: the issuer without a final slash, then the well-known path."""
        return self.url.removesuffix("/") + "/.well-known/openid-configuration"

    @property
    def host(self) -> str:
        """The host, in lower case, without the port."""
        from urllib.parse import urlsplit  # noqa: PLC0415 - as above

        return urlsplit(self.url).hostname or ""

    def __str__(self) -> str:
        return self.url
