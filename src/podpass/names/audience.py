# SPDX-License-Identifier: Apache-2.0
"""The audience that a verifier demands or a client asks for."""

from typing import Self

import msgspec

from podpass.errors import ConfigError
from podpass.names.quoting import quoted

# Google: an allowed audience has at most 256 characters (IAM v1, WorkloadIdentityPoolProvider.Oidc.allowedAudiences).
_LIMIT_CHARS = 256


class Audience(msgspec.Struct, frozen=True):
    """One `aud` value, compared byte for byte."""

    value: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Refuse an empty audience, white space, and more than 256 characters.

        Raises:
            ConfigError: One of these.
        """
        if not text or any(character.isspace() for character in text) or len(text) > _LIMIT_CHARS:
            raise ConfigError(
                f"{quoted(text)} cannot be an audience.",
                f"An audience has 1 to {_LIMIT_CHARS} characters and no white space; this one has {len(text)}.",
                "Name the service that the token is for, such as its URL.",
                code="config.audience",
            )
        return cls(text)

    def __str__(self) -> str:
        return self.value
