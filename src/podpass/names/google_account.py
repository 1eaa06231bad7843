# SPDX-License-Identifier: Apache-2.0
"""A Google service account, by its email."""

import re
from typing import Self

import msgspec

from podpass.errors import ConfigError
from podpass.names.quoting import at_odds, quoted

# Google (IAM v1 reference): the account id has 6 to 30 characters.
_ACCOUNT_ID = r"[a-z]([-a-z0-9]{4,28}[a-z0-9])"
_SUFFIX = ".iam.gserviceaccount.com"
_EMAIL = r"[a-z0-9][-a-z0-9.]{0,62}@[a-z0-9][-a-z0-9.]{1,200}\.gserviceaccount\.com"


def _has(account_id: str) -> str:
    if re.fullmatch(r"[-a-z0-9]{6,30}", account_id):
        return f"begins with {account_id[0]!r} and ends in {account_id[-1]!r}"
    return f"has {at_odds(account_id)}"


class GoogleServiceAccount(msgspec.Struct, frozen=True):
    """A service account's email; `project` is None for those of Google's own domains (`…@developer.gserviceaccount.com`)."""

    email: str

    @classmethod
    def parse(cls, text: str, *, project: str | None = None) -> Self:
        """Read an email, or with `project` (an id) also a bare account id.

        Raises:
            ConfigError: Neither an account id of 6 to 30 characters nor a service account's email.
        """
        if "@" in text:
            if not re.fullmatch(_EMAIL, text):
                raise ConfigError(
                    f"{quoted(text)} is not the email of a Google service account.",
                    "Such an email ends in .gserviceaccount.com.",
                    f"Write ID@PROJECT{_SUFFIX}.",
                    code="config.google-service-account",
                )
            return cls(text)
        if project is None or not re.fullmatch(_ACCOUNT_ID, text):
            raise ConfigError(
                f"{quoted(text)} cannot be the id of a Google service account.",
                f"An id has 6 to 30 of a-z, 0-9 and '-', begins with a letter, does not end in '-'; this one {_has(text)}.",
                f"Choose another id, or write the full email of an existing account: ID@PROJECT{_SUFFIX}.",
                code="config.google-service-account",
            )
        return cls(f"{text}@{project}{_SUFFIX}")

    @property
    def account_id(self) -> str:
        """The part before the @."""
        return self.email.partition("@")[0]

    @property
    def project(self) -> str | None:
        """The id of the project that owns it."""
        domain = self.email.partition("@")[2]
        return domain.removesuffix(_SUFFIX) if domain.endswith(_SUFFIX) else None

    @property
    def member(self) -> str:
        """Its form as a member of an IAM policy."""
        return f"serviceAccount:{self.email}"

    def __str__(self) -> str:
        return self.email
