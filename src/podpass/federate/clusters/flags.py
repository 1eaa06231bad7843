# SPDX-License-Identifier: Apache-2.0
"""The flags of kube-apiserver that decide whose tokens it issues and takes. Pure.

Source:
    kube-apiserver's reference of flags, and its source (`pkg/kubeapiserver/options/authentication.go`).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final, Self

ISSUER: Final = "service-account-issuer"
API_AUDIENCES: Final = "api-audiences"
KEY_FILE: Final = "service-account-key-file"
SIGNING_KEY_FILE: Final = "service-account-signing-key-file"
JWKS_URI: Final = "service-account-jwks-uri"
MAX_EXPIRATION: Final = "service-account-max-token-expiration"
EXTEND_EXPIRATION: Final = "service-account-extend-token-expiration"
NAMES: Final = frozenset({ISSUER, API_AUDIENCES, KEY_FILE, SIGNING_KEY_FILE, JWKS_URI, MAX_EXPIRATION, EXTEND_EXPIRATION})

EXTENDED_LIFE: Final = timedelta(days=365)
"""What a token of an hour for the API server really lives, where expirations are extended (kube-apiserver's default)."""
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
_UNITS_S: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_FALSE: Final = frozenset({"0", "f", "F", "false", "False", "FALSE"})


@dataclass(frozen=True, slots=True)
class ServiceAccountFlags:
    """What kube-apiserver is told about service accounts; empty values are those that nobody gave.

    Attributes:
        issuers: The first signs, all are accepted.
        api_audiences: Whom tokens may be meant for to be taken by the API server itself; empty: the issuers.
        key_files: Public keys (or private ones, for their public halves) that verify.
        signing_key_file: The private key that signs.
        jwks_uri: What the discovery document names as the address of the keys.
        max_token_expiration: What no requested token outlives; None: no limit of its own.
        extend_token_expiration: Whether tokens for the API server that kubelet asked for by default live a year.
    """

    issuers: tuple[str, ...] = ()
    api_audiences: tuple[str, ...] = ()
    key_files: tuple[str, ...] = ()
    signing_key_file: str = ""
    jwks_uri: str = ""
    max_token_expiration: timedelta | None = None
    extend_token_expiration: bool = True

    @classmethod
    def of(cls, settings: Iterable[tuple[str, str]]) -> Self:
        """Take flags by name and value, in their order; other flags are passed over.

        A flag that may be given once and is given more often has its last value, as with kube-apiserver.
        """
        given: dict[str, list[str]] = {}
        for name, value in settings:
            given.setdefault(name, []).append(value)
        last = {name: values[-1] for name, values in given.items()}
        return cls(
            issuers=tuple(given.get(ISSUER, ())),
            api_audiences=tuple(one.strip() for value in given.get(API_AUDIENCES, ()) for one in value.split(",") if one.strip()),
            key_files=tuple(given.get(KEY_FILE, ())),
            signing_key_file=last.get(SIGNING_KEY_FILE, ""),
            jwks_uri=last.get(JWKS_URI, ""),
            max_token_expiration=parse_duration(last.get(MAX_EXPIRATION, "")),
            extend_token_expiration=last.get(EXTEND_EXPIRATION, "true") not in _FALSE,
        )

    @property
    def accepted_audiences(self) -> tuple[str, ...]:
        """Whom the API server takes tokens for."""
        return self.api_audiences or self.issuers

    def settings(self) -> Iterator[tuple[str, str]]:
        """Yield name and value of each flag that somebody gave, in an order that keeps its meaning."""
        yield from ((ISSUER, one) for one in self.issuers)
        if self.api_audiences:
            yield API_AUDIENCES, ",".join(self.api_audiences)
        yield from ((KEY_FILE, one) for one in self.key_files)
        if self.signing_key_file:
            yield SIGNING_KEY_FILE, self.signing_key_file
        if self.jwks_uri:
            yield JWKS_URI, self.jwks_uri
        if self.max_token_expiration is not None:
            yield MAX_EXPIRATION, f"{int(self.max_token_expiration.total_seconds())}s"
        if not self.extend_token_expiration:
            yield EXTEND_EXPIRATION, "false"

    def with_issuers(self, issuers: Iterable[str], audiences: Iterable[str]) -> Self:
        """Return the same with these issuers and API audiences, each once."""
        return replace(self, issuers=tuple(dict.fromkeys(issuers)), api_audiences=tuple(dict.fromkeys(audiences)))


def parse_arguments(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and value of each flag of a command: `--name=value`, `--name value`, `--name`."""
    found: list[tuple[str, str]] = []
    for number, argument in enumerate(arguments):
        if not argument.startswith("--"):
            continue
        name, has_value, value = argument.removeprefix("--").partition("=")
        following = arguments[number + 1] if number + 1 < len(arguments) else ""
        if not has_value:
            value = "true" if not following or following.startswith("-") else following
        found.append((name, value))
    return found


def parse_duration(text: str) -> timedelta | None:
    """Read a duration as Go writes it (`48h0m0s`); None for none, for zero and for what is no duration."""
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return timedelta(seconds=sum(float(number) * _UNITS_S[unit] for number, unit in parts)) or None
