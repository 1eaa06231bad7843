# SPDX-License-Identifier: Apache-2.0
"""Keys that stand in a file and are never asked for."""

from collections.abc import Collection
from itertools import count
from pathlib import Path
from typing import Final

from podpass.errors import ConfigError, KeySetError
from podpass.verify import KeySet, VerificationKey
from podpass.verify.algorithms import DEFAULT_ALGORITHMS
from podpass.verify.jwks import SET_LIMIT_BYTES

_generations: Final = count(1)


class StaticKeys:
    """Keys that never change: as long as this object lives, they are the issuer's."""

    __slots__ = ("__weakref__", "_keys", "generation")

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys
        self.generation = next(_generations)

    @classmethod
    def read(cls, path: Path, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> "StaticKeys":
        """Read a JWKS.

        Raises:
            ConfigError: The file cannot be read.
            KeySetError: It holds no key that can be used.
        """
        return cls.of(read_jwks(path), path, algorithms)

    @classmethod
    def of(cls, raw: bytes, path: Path, algorithms: Collection[str] = DEFAULT_ALGORITHMS) -> "StaticKeys":
        """Take a JWKS that was read from a file.

        Raises:
            KeySetError: It holds no key that can be used.
        """
        try:
            return cls(KeySet.parse(raw, algorithms=algorithms))
        except KeySetError as error:
            raise KeySetError(f"{path}: {error.what}", error.why, error.next_step, code=error.full_code) from error

    def known(self) -> KeySet:
        """Return the keys."""
        return self._keys

    def find(self, kid: str | None) -> VerificationKey:
        """Return the key that a token names; see `KeySet.find`."""
        return self._keys.find(kid)


def read_jwks(path: Path) -> bytes:
    """Read a JWKS file, one byte beyond the limit at most.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(SET_LIMIT_BYTES + 1)
    except OSError as error:
        what = f"The keys in {path} cannot be read."
        next_step = "Write the issuer's JWKS there: `kubectl get --raw /openid/v1/jwks`."
        raise ConfigError(what, f"{error.strerror or error}.", next_step, code="config.unreadable") from error
