# SPDX-License-Identifier: Apache-2.0
"""The resource names of Google's workload identity pools and their providers."""

import re
from dataclasses import dataclass
from typing import Self

from podpass.errors import ConfigError
from podpass.names.quoting import at_odds, quoted

# Google (IAM v1 reference): 4 to 32 of [a-z0-9-]; the prefix `gcp-` is reserved.
_ID = re.compile(r"[a-z0-9-]{4,32}")
_PROJECT = re.compile(r"[0-9]{1,20}|[a-z][-a-z0-9:.]{4,60}[a-z0-9]")
_IAM = "//iam.googleapis.com/"
_PATTERN = re.compile(
    r"(?P<prefix>(?:https:)?//iam\.googleapis\.com/)?projects/(?P<project>[^/]+)/locations/global/workloadIdentityPools/(?P<pool>[^/]+)"
    r"(?:/providers/(?P<provider>[^/]+))?"
)
# A provider's full name as an audience, from which the project's number can be read.
PROVIDER_IN_AUDIENCE = re.compile(
    r"(?:https:)?//iam\.googleapis\.com/projects/(?P<number>[0-9]{1,20})/locations/global/workloadIdentityPools/[^/]+/providers/[^/]+"
)


def check_id(kind: str, text: str) -> None:
    """Refuse a pool or provider id that Google would refuse.

    Raises:
        ConfigError: Length, alphabet or reserved prefix.
    """
    if not _ID.fullmatch(text):
        why = f"An id has 4 to 32 of a-z, 0-9 and '-'; this one has {at_odds(text)}."
    elif text.startswith("gcp-"):
        why = "The prefix 'gcp-' is reserved by Google."
    else:
        return
    raise ConfigError(f"{quoted(text)} cannot be the id of a {kind}.", why, "Choose another id.", code="config.id")


def _match(text: str) -> re.Match[str]:
    found = _PATTERN.fullmatch(text)
    if not found or not _PROJECT.fullmatch(found["project"]):
        raise ConfigError(
            f"{quoted(text)} is not the name of a workload identity pool or provider.",
            "",
            "Write projects/NUMBER/locations/global/workloadIdentityPools/POOL[/providers/PROVIDER].",
            code="config.pool-name",
        )
    return found


@dataclass(frozen=True, slots=True)
class PoolName:
    """A workload identity pool. `project` is the number in every name that Google writes; Google reads the id as well."""

    project: str
    pool: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `[//iam.googleapis.com/]projects/P/locations/global/workloadIdentityPools/POOL`.

        Raises:
            ConfigError: Another form, or a pool id that Google would refuse.
        """
        found = _match(text)
        if found["provider"] is not None:
            raise ConfigError(f"{quoted(text)} names a provider, not a pool.", code="config.pool-name")
        check_id("workload identity pool", found["pool"])
        return cls(found["project"], found["pool"])

    def provider(self, provider_id: str) -> "ProviderName":
        """Name one provider of this pool."""
        return ProviderName(self, provider_id)

    def __str__(self) -> str:
        return f"projects/{self.project}/locations/global/workloadIdentityPools/{self.pool}"


@dataclass(frozen=True, slots=True)
class ProviderName:
    """A provider of a workload identity pool."""

    pool: PoolName
    provider: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a provider's name, bare or as an audience (`//iam.googleapis.com/…`, `https://iam.googleapis.com/…`).

        Raises:
            ConfigError: Another form, or an id that Google would refuse.
        """
        found = _match(text)
        if found["provider"] is None:
            raise ConfigError(f"{quoted(text)} names a pool, not a provider.", code="config.pool-name")
        check_id("workload identity pool", found["pool"])
        check_id("provider", found["provider"])
        return cls(PoolName(found["project"], found["pool"]), found["provider"])

    @property
    def audience(self) -> str:
        """The audience that the security token service knows it by: `//iam.googleapis.com/` and the name."""
        return _IAM + str(self)

    def __str__(self) -> str:
        return f"{self.pool}/providers/{self.provider}"
