# SPDX-License-Identifier: Apache-2.0
"""Which audiences are Google's, and so are never among those that an API server takes tokens for. Pure."""

import re
from collections.abc import Iterable
from typing import Final

# A provider's name, in any of the ways it is written; the hosts that exchange tokens; a pool of GKE; a variable that names a provider.
_GOOGLE: Final = re.compile(
    r"workloadIdentityPools/|^(?:https:)?//(?:iam|sts|iamcredentials)\.googleapis\.com"
    r"|^[a-z][a-z0-9-]*\.svc\.id\.goog$|\$\{?[A-Z_]*PROVIDER[A-Z_]*\}?$"
)


def is_google_audience(audience: str) -> bool:
    """Whether a token for this audience is meant for Google. A script's variable that names a provider counts: `${OIDC_PROVIDER_URL}`."""
    return _GOOGLE.search(audience) is not None


def without_google(audiences: Iterable[str]) -> tuple[str, ...]:
    """Return the audiences that are not Google's, in their order, each once."""
    return tuple(dict.fromkeys(one for one in audiences if not is_google_audience(one)))
