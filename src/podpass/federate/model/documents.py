# SPDX-License-Identifier: Apache-2.0
"""The two documents that an issuer publishes, and the key set as a provider takes it inline.

They are built from all the keys that the cluster publishes itself and from the declared issuer, not copied from the cluster's own
discovery document: that one names the issuer of today, and publishing comes before switching.
"""

import json
from typing import Final

from podpass.names import Issuer
from podpass.verify.jwks import KeySet

DISCOVERY_PATH: Final = ".well-known/openid-configuration"
KEYS_PATH: Final = "keys.json"
CACHE_CONTROL: Final = "public, max-age=0"
"""Google Storage lets public objects be cached for an hour unless told otherwise; a new key must be seen at once."""
CONTENT_TYPE: Final = "application/json"


def inline_keys(jwks: str) -> str:
    """Return the key set with the members that Google allows and no others, always in the same form."""
    return KeySet.parse(jwks).canonical_json()


def discovery(issuer: Issuer, jwks: str) -> str:
    """Return the discovery document of an issuer whose keys are at ISSUER/keys.json."""
    algorithms = sorted({str(key["alg"]) for key in json.loads(inline_keys(jwks))["keys"]})
    document = {
        "issuer": issuer.url,
        "jwks_uri": f"{issuer.url.removesuffix('/')}/{KEYS_PATH}",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
    }
    return json.dumps(document, indent=2)


def published(issuer: Issuer, jwks: str) -> dict[str, str]:
    """Return path and content of both documents."""
    return {KEYS_PATH: inline_keys(jwks), DISCOVERY_PATH: discovery(issuer, jwks)}
