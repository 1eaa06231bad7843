# SPDX-License-Identifier: Apache-2.0
"""Which provider a subject token is traded at while its cluster moves to another issuer.

A provider takes the tokens of one issuer, and during a move those of two are in use. So the operator lists the providers in a file beside
the credential configuration, and the `iss` of the token at hand chooses among them. Nobody has verified that claim yet, and it decides
nothing else: each provider that is listed is of the configuration's own pool, and the security token service judges the token at it.

Both files are read anew for each exchange, as the token is: kubelet swaps them while the program runs.
"""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

from podpass.errors import ConfigError, MalformedTokenError
from podpass.exchange.credential_config import CredentialConfig, load_credential_config
from podpass.names import Issuer, PoolName, ProviderName, Secret
from podpass.verify import parse

LOGGER: Final = logging.getLogger("podpass.exchange")

SUFFIX: Final = ".providers"
"""What the list's name has behind that of the credential configuration."""
_VERSION: Final = "podpass.dev/v1alpha1"
_KIND: Final = "Providers"
_LIMIT_BYTES: Final = 16 * 1024
_LIMIT: Final = 10


def provider_list(providers: Mapping[str, ProviderName]) -> str:
    """Write the list: the provider of each issuer."""
    listed = [{"issuer": issuer, "audience": name.audience} for issuer, name in providers.items()]
    return json.dumps({"apiVersion": _VERSION, "kind": _KIND, "providers": listed}, indent=2)


def read_provider_list(raw: bytes | str, pool: PoolName) -> dict[str, ProviderName]:
    """Read a list.

    Args:
        raw: What `provider_list` wrote.
        pool: Whose providers they have to be.

    Raises:
        ConfigError: It is no such list, names an issuer twice, or a provider of another pool.
    """
    try:
        listed = json.loads(raw)
        if (listed["apiVersion"], listed["kind"]) != (_VERSION, _KIND) or len(listed["providers"]) > _LIMIT:
            raise ValueError(_KIND)  # noqa: TRY301 - one place says what is wrong
        found = dict(_entry(one) for one in listed["providers"])
        if len(found) != len(listed["providers"]) or {name.pool for name in found.values()} - {pool}:
            raise ValueError(_KIND)  # noqa: TRY301 - one place says what is wrong
    except (ValueError, KeyError, TypeError, RecursionError, ConfigError) as error:
        raise ConfigError(
            "This list of providers is refused.",
            f"It is JSON with apiVersion {_VERSION} and kind {_KIND}, and names a provider of the pool {pool.pool} for each issuer, "
            f"{_LIMIT} at most.",
            "Let `podpass rotate --issuer` write it.",
            code="config.provider-list",
        ) from error
    return found


def _entry(value: Any) -> tuple[str, ProviderName]:  # noqa: ANN401 - a JSON value
    return Issuer.parse(value["issuer"]).url, ProviderName.parse(value["audience"])


@final
class ProviderChoice:
    """Chooses the provider for each subject token of one workload.

    Args:
        config: The credential configuration as it was read at first; only its pool's providers are ever chosen.
    """

    def __init__(self, config: CredentialConfig) -> None:
        self._first = config.provider
        self._file = Path(config.file) if config.file else None
        self._universe = config.universe
        self._told = ""

    def of(self, subject_token: Secret[str]) -> ProviderName:
        """Return the listed provider of the token's issuer; else the one that the configuration names now."""
        if self._file is None:
            return self._first
        try:
            listed = self._listed(self._file.with_name(self._file.name + SUFFIX))
            chosen = listed.get(_issuer(subject_token)) or self._configured(self._file)
        except ConfigError as error:  # what was good when the program began is no worse for a file that is broken now
            self._tell(str(error))
            return self._first
        self._told = ""
        return chosen

    def _listed(self, path: Path) -> dict[str, ProviderName]:
        try:
            with path.open("rb") as file:
                raw = file.read(_LIMIT_BYTES + 1)
        except FileNotFoundError:  # no move is under way
            return {}
        except OSError as error:
            raise ConfigError(f"{path} cannot be read.", f"{error.strerror}.", code="config.provider-list") from error
        return read_provider_list(raw, self._first.pool)

    def _configured(self, file: Path) -> ProviderName:
        provider = load_credential_config(file, universes=(self._universe,)).provider
        # Another pool is another identity: that needs somebody who starts the program anew.
        return provider if provider.pool == self._first.pool else self._first

    def _tell(self, what: str) -> None:
        if what != self._told:
            LOGGER.warning("Subject tokens are traded at %s: %s", self._first, what)
            self._told = what


def _issuer(subject_token: Secret[str]) -> str:
    """Return what the token says its issuer is; empty for one that cannot be read, which the security token service will refuse."""
    try:
        issuer = parse(subject_token.reveal()).payload.get("iss")
    except MalformedTokenError:
        return ""
    return issuer if isinstance(issuer, str) else ""
