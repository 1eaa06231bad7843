# SPDX-License-Identifier: Apache-2.0
"""What an exchange ends with: an access token, an ID token, or a signature."""

from dataclasses import dataclass
from datetime import datetime

from podpass.names import Secret


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that calls Google's APIs.

    Attributes:
        value: The token.
        expires_at: When it ends.
    """

    value: Secret[str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class IdToken:
    """A token that tells one audience which Google service account is calling.

    Attributes:
        value: The token, signed by accounts.google.com.
        expires_at: When it ends: the `exp` in it.
    """

    value: Secret[str]
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Signature:
    """What IAM Credentials signed with a key of the account.

    Attributes:
        key_id: Which key.
        signature: RSA PKCS #1 v1.5 over SHA-256 of the payload.
    """

    key_id: str
    signature: bytes
