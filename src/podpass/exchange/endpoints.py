# SPDX-License-Identifier: Apache-2.0
"""The two origins that tokens are sent to, and no other."""

from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

from podpass.errors import ConfigError
from podpass.names import GoogleServiceAccount
from podpass.net.direct import LOOPBACK

UNIVERSE: Final = "googleapis.com"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the security token service and IAM Credentials are.

    Attributes:
        sts: Origin of the one; the subject token goes there.
        iam_credentials: Origin of the other; the federated token goes there.
        universe: The domain that they belong to.

    Raises:
        ConfigError: One is neither https nor on loopback.
    """

    sts: str = f"https://sts.{UNIVERSE}"
    iam_credentials: str = f"https://iamcredentials.{UNIVERSE}"
    universe: str = UNIVERSE

    def __post_init__(self) -> None:
        _check_origin(self.sts)
        _check_origin(self.iam_credentials)

    @classmethod
    def of(cls, universe: str) -> Self:
        """Return those of a universe: googleapis.com, or the domain of a cloud that Google runs for others."""
        return cls(f"https://sts.{universe}", f"https://iamcredentials.{universe}", universe)

    @property
    def token(self) -> str:
        """Where a subject token is exchanged."""
        return f"{self.sts}/v1/token"

    @property
    def introspect(self) -> str:
        """Where a federated token is told to whom it belongs."""
        return f"{self.sts}/v1/introspect"

    def account(self, account: GoogleServiceAccount, verb: str) -> str:
        """Return where IAM Credentials does something as an account: `generateAccessToken`, `generateIdToken`, `signBlob`."""
        return f"{self.iam_credentials}/v1/projects/-/serviceAccounts/{account.email}:{verb}"


def _check_origin(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK):
        return
    raise ConfigError(
        f"No token is sent to {parts.scheme}://{parts.netloc}.", "It is not https.", "Use an https URL.", code="config.token-origin"
    )
