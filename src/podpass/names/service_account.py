# SPDX-License-Identifier: Apache-2.0
"""A Kubernetes service account, as the subject of its tokens spells it."""

import re
from typing import Self

import msgspec

from podpass.errors import ConfigError
from podpass.names.quoting import quoted

# Kubernetes: a namespace is a DNS label (63), a service account's name a DNS subdomain (253).
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_SUBDOMAIN_LIMIT_CHARS = 253
_PREFIX = "system:serviceaccount:"


class ServiceAccountRef(msgspec.Struct, frozen=True, order=True):
    """One Kubernetes service account of one cluster; which cluster, the issuer says."""

    namespace: str
    name: str

    def __post_init__(self) -> None:
        if not _LABEL.fullmatch(self.namespace):
            raise ConfigError(
                f"{quoted(self.namespace)} is not a Kubernetes namespace.",
                "A namespace has 1 to 63 of a-z, 0-9 and '-', and begins and ends with a letter or digit.",
                "Write the service account as NAMESPACE/NAME.",
                code="config.service-account",
            )
        if not _SUBDOMAIN.fullmatch(self.name) or len(self.name) > _SUBDOMAIN_LIMIT_CHARS:
            raise ConfigError(
                f"{quoted(self.name)} is not the name of a Kubernetes service account.",
                "A name has 1 to 253 of a-z, 0-9, '-' and '.', and begins and ends with a letter or digit.",
                "Write the service account as NAMESPACE/NAME.",
                code="config.service-account",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `NAMESPACE/NAME` or `system:serviceaccount:NAMESPACE:NAME`.

        Raises:
            ConfigError: Neither form, or a part that Kubernetes would refuse.
        """
        body, separator = (text.removeprefix(_PREFIX), ":") if text.startswith(_PREFIX) else (text, "/")
        namespace, found, name = body.partition(separator)
        if not found:
            raise ConfigError(
                f"{quoted(text)} does not name a Kubernetes service account.",
                "It has no namespace.",
                f"Write it as NAMESPACE/NAME, for instance default/{text[:63] or 'my-account'}.",
                code="config.service-account",
            )
        return cls(namespace, name)

    @property
    def subject(self) -> str:
        """The `sub` claim of its tokens: `system:serviceaccount:NAMESPACE:NAME`."""
        return f"{_PREFIX}{self.namespace}:{self.name}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
