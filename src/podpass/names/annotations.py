# SPDX-License-Identifier: Apache-2.0
"""What the annotations of a Kubernetes service account say about its identity at Google.

podpass's own, GKE's, and those of the webhook that goes before: who moves to podpass changes nothing. Several that say one thing may agree;
where they do not, nobody guesses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from podpass.errors import ConfigError
from podpass.names.audience import Audience
from podpass.names.google_account import GoogleServiceAccount
from podpass.names.pool import ProviderName
from podpass.names.quoting import quoted

GOOGLE_SERVICE_ACCOUNT: Final = (
    "podpass.dev/google-service-account",
    "iam.gke.io/gcp-service-account",
    "cloud.google.com/service-account-email",
)
PROVIDER: Final = ("podpass.dev/provider", "cloud.google.com/workload-identity-provider")
AUDIENCE: Final = ("podpass.dev/audience", "cloud.google.com/audience")


@dataclass(frozen=True, slots=True)
class AccountAnnotations:
    """Who a workload is at Google, as its Kubernetes service account is annotated. It is a wish: the operator's settings bound it.

    Attributes:
        google_service_account: The account to act as; None: the workload's own principal.
        provider: Whom the subject token is for.
        audience: The subject token's audience, where it is not the provider's name.
    """

    google_service_account: GoogleServiceAccount | None = None
    provider: ProviderName | None = None
    audience: Audience | None = None

    @classmethod
    def parse(cls, annotations: Mapping[str, str]) -> Self:
        """Read them among all annotations of an account; an empty value is none, as for GKE.

        Raises:
            ConfigError: A value that is no such name, or two annotations that disagree.
        """
        account, provider, audience = (_value(annotations, names) for names in (GOOGLE_SERVICE_ACCOUNT, PROVIDER, AUDIENCE))
        return cls(
            GoogleServiceAccount.parse(account) if account else None,
            ProviderName.parse(provider) if provider else None,
            Audience.parse(audience) if audience else None,
        )


def _value(annotations: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    found = {name: annotations[name] for name in names if annotations.get(name)}
    if len(set(found.values())) > 1:
        raise ConfigError(
            f"The annotations {' and '.join(found)} disagree.",
            f"They say {' and '.join(map(quoted, found.values()))}.",
            f"Remove all but {next(iter(found))}.",
            code="config.annotation",
        )
    return next(iter(found.values()), None)
