# SPDX-License-Identifier: Apache-2.0
"""For Google's own libraries: `storage.Client(credentials=Credentials.from_env())`.

google-auth exchanges tokens by itself. What these do beyond that: the credential file is read strictly, so that it can lead a token
nowhere else; tokens are kept fresh through an outage, once for all clients that share `tokens`; ID tokens and signatures (signed URLs of
Cloud Storage) come of a federated workload, too. See docs/how-to/use-google-libraries.md.
"""

import copy
import os
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self

from google.auth import credentials, crypt
from google.auth.exceptions import RefreshError, TransportError

from podpass.errors import ConfigError, PodpassError
from podpass.exchange.credential_config import load_credential_config
from podpass.exchange.endpoints import UNIVERSE
from podpass.exchange.tokens import AccessToken, IdToken
from podpass.exchange.workload_tokens import WorkloadTokens

__all__ = ["Credentials", "IdTokenCredentials"]

_FILE: Final = "GOOGLE_APPLICATION_CREDENTIALS"


class _Signer(crypt.Signer):
    """Signs with a key of the account, which Google keeps."""

    def __init__(self, tokens: WorkloadTokens) -> None:
        self._tokens = tokens

    @property
    def key_id(self) -> None:
        """Unknown: Google chooses the key."""
        return

    def sign(self, message: str | bytes) -> bytes:
        """Return the signature of a message.

        Raises:
            TransportError: There is none; its cause is the `PodpassError`.
        """
        try:
            return self._tokens.sign(message.encode() if isinstance(message, str) else message).signature
        except PodpassError as error:
            raise TransportError(str(error), retryable=error.retryable) from error


class _Base(credentials.CredentialsWithQuotaProject, credentials.Signing):
    """What both kinds share: where tokens come from, how they are shown, and how failures are told."""

    def __init__(self, tokens: WorkloadTokens, quota_project_id: str | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # google-auth is not typed
        self.tokens = tokens
        self._quota_project_id = quota_project_id
        self._universe_domain = tokens.exchanger.universe
        self._held: AccessToken | IdToken | None = None

    @classmethod
    def from_env(cls, *args: str, environ: Mapping[str, str] | None = None, **more: Any) -> Self:  # noqa: ANN401 - those of `from_file`
        """Read the file that GOOGLE_APPLICATION_CREDENTIALS names; see `from_file`.

        Raises:
            ConfigError: It is not set, or names a file that is refused.
        """
        path = (os.environ if environ is None else environ).get(_FILE)
        if not path:
            raise ConfigError(
                f"{_FILE} is not set.",
                "It is the path of the credential configuration that `podpass apply` writes into a ConfigMap.",
                "Set it in the container's env.",
                code="config.client",
            )
        return cls.from_file(path, *args, **more)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *args: str, universes: Collection[str] = (UNIVERSE,), **more: Any) -> Self:  # noqa: ANN401 - the constructor's own
        """Read a credential configuration strictly (docs/how-to/use-google-libraries.md).

        Args:
            path: The file.
            args: As for the constructor, behind `tokens`.
            universes: Whose services may be asked.
            more: As for the constructor.

        Raises:
            ConfigError: It cannot be read, or could lead the token elsewhere.
        """
        return cls(WorkloadTokens.from_config(load_credential_config(path, universes=universes)), *args, **more)

    @property
    def service_account_email(self) -> str | None:
        """The account that the tokens are for; None for the workload's own principal."""
        account = self.tokens.exchanger.service_account
        return None if account is None else account.email

    signer_email = service_account_email

    @property
    def signer(self) -> crypt.Signer:
        """What signs as the account."""
        return _Signer(self.tokens)

    def sign_bytes(self, message: bytes) -> bytes:
        """Return the account's signature of a message.

        Raises:
            TransportError: There is none; its cause is the `PodpassError`.
        """
        signature: bytes = self.signer.sign(message)
        return signature

    def with_quota_project(self, quota_project_id: str | None) -> Self:
        """Return equal credentials that have another project pay."""
        other = copy.copy(self)
        other._quota_project_id = quota_project_id  # noqa: SLF001 - of our own kind
        return other

    def get_cred_info(self) -> dict[str, str]:
        """Tell where the credentials come from; Google's libraries put that into errors."""
        info = {"credential_source": str(self.tokens.source), "credential_type": "podpass workload credentials"}
        return info | ({"principal": self.service_account_email} if self.service_account_email else {})

    def refresh(self, request: object) -> None:  # noqa: ARG002 - podpass has its own connections
        """Take the token of the moment; called by google-auth where this has none that lives long enough, and after a 401.

        Raises:
            RefreshError: There is none; its cause is the `PodpassError`.
        """
        try:
            self._hold(self._fetch())
        except PodpassError as error:
            raise RefreshError(str(error), retryable=error.retryable) from error

    @abstractmethod
    def _fetch(self) -> AccessToken | IdToken:
        """Return the token of the moment."""

    def _hold(self, token: AccessToken | IdToken) -> None:
        self._held = token
        self.token: str | None = token.value.reveal()
        # google-auth counts in UTC without saying so.
        self.expiry: datetime | None = token.expires_at.replace(tzinfo=None)


class Credentials(_Base, credentials.Scoped):
    """Access tokens of the workload: its Google service account's, or its own principal's.

    Args:
        tokens: Where they come from; may be shared.
        scopes: What the tokens are for; None leaves it to the library that uses them.
        default_scopes: What a library asks for where nobody said.
        quota_project_id: Which project pays.
    """

    def __init__(
        self,
        tokens: WorkloadTokens,
        *,
        scopes: Iterable[str] | None = None,
        default_scopes: Iterable[str] | None = None,
        quota_project_id: str | None = None,
    ) -> None:
        super().__init__(tokens, quota_project_id)
        self._scopes = None if scopes is None else tuple(scopes)
        self._default_scopes = None if default_scopes is None else tuple(default_scopes)

    @property
    def requires_scopes(self) -> bool:
        """Whether a library may name its own scopes: as long as nobody has."""
        return not self._scopes and not self._default_scopes

    def with_scopes(self, scopes: Sequence[str], default_scopes: Sequence[str] | None = None) -> "Credentials":
        """Return credentials for other scopes, of the same tokens."""
        return type(self)(self.tokens, scopes=scopes, default_scopes=default_scopes, quota_project_id=self._quota_project_id)

    def _fetch(self) -> AccessToken:
        scopes = self._scopes or self._default_scopes
        # Called for a token that looks good, google-auth has seen a 401.
        if self.valid and isinstance(self._held, AccessToken):
            return self.tokens.renew(self._held, scopes)
        return self.tokens.access_token(scopes)


class IdTokenCredentials(_Base):
    """ID tokens for one service: Cloud Run, IAP, or one with a guard of podpass.

    Args:
        tokens: Where they come from; may be shared.
        target_audience: The service's URL, or what else it calls itself.
        quota_project_id: Which project pays.
    """

    def __init__(self, tokens: WorkloadTokens, target_audience: str, *, quota_project_id: str | None = None) -> None:
        super().__init__(tokens, quota_project_id)
        self._target_audience = target_audience

    def with_target_audience(self, target_audience: str) -> "IdTokenCredentials":
        """Return credentials for another service, of the same tokens."""
        return type(self)(self.tokens, target_audience, quota_project_id=self._quota_project_id)

    def _fetch(self) -> IdToken:
        return self.tokens.id_token(self._target_audience)
