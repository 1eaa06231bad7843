# SPDX-License-Identifier: Apache-2.0
"""Keys that stand in a file, and the provider that finds the keys of every issuer of a policy."""

from itertools import count
from pathlib import Path
from typing import Final

from podpass.errors import ConfigError, KeySetError
from podpass.guard.ports import IssuerKeys
from podpass.policy import TrustedIssuer
from podpass.verify import KeySet, VerificationKey
from podpass.verify.jwks import SET_LIMIT_BYTES

_generations: Final = count(1)


class StaticKeys:
    """Keys that never change: as long as this object lives, they are the issuer's."""

    __slots__ = ("_keys", "generation")

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys
        self.generation = next(_generations)

    @classmethod
    def read(cls, path: Path) -> "StaticKeys":
        """Read a JWKS.

        Raises:
            ConfigError: The file cannot be read.
            KeySetError: It holds no key that can be used.
        """
        try:
            with path.open("rb") as file:
                raw = file.read(SET_LIMIT_BYTES + 1)
        except OSError as error:
            what = f"The keys in {path} cannot be read."
            next_step = "Write the issuer's JWKS there: `kubectl get --raw /openid/v1/jwks`."
            raise ConfigError(what, f"{error.strerror or error}.", next_step, code="config.unreadable") from error
        try:
            return cls(KeySet.parse(raw))
        except KeySetError as error:
            raise KeySetError(f"{path}: {error.what}", error.why, error.next_step, code=error.full_code) from error

    def known(self) -> KeySet:
        """Return the keys."""
        return self._keys

    def find(self, kid: str | None) -> VerificationKey:
        """Return the key that a token names; see `KeySet.find`."""
        return self._keys.find(kid)


class FileKeys:
    """The provider for policies whose keys all stand in files."""

    def keys_of(self, issuer: TrustedIssuer) -> IssuerKeys:
        """Read an issuer's keys.

        Raises:
            ConfigError: They are not in a file, or the file cannot be read.
            KeySetError: It holds no key that can be used.
        """
        if isinstance(issuer.keys, Path):
            return StaticKeys.read(issuer.keys)
        raise ConfigError(
            f"The keys of issuer {issuer.name!r} are not in a file.",
            f"The policy says keys: {issuer.keys}, and this guard has been given no provider that asks for them.",
            "Give the guard a key provider, or write keys: {file: PATH}.",
            code="config.keys",
        )
