# SPDX-License-Identifier: Apache-2.0
"""An issuer of tokens on loopback: its discovery document and its keys, which tests bend."""

import json
from dataclasses import replace

import trustme

from loopback_server import LoopbackServer, Reply, Seen
from podpass.names import Issuer
from podpass.verify import public_jwk
from token_forge import Signer

DISCOVERY_PATH = "/cluster/.well-known/openid-configuration"
KEYS_PATH = "/cluster/keys"


class IssuerServer(LoopbackServer):
    """Publishes the public halves of signers at `/cluster`."""

    def __init__(self, authority: trustme.CA | None, *signers: Signer) -> None:
        super().__init__(self._reply, authority)
        self.keys = Reply(body=jwks(*signers))
        self.document: Reply | None = None  # None: a right one
        self.max_age_s: int | None = 600
        self.is_down = False

    @property
    def issuer(self) -> Issuer:
        """The issuer that its tokens would name."""
        return Issuer(f"{self.url}/cluster")

    @property
    def fetches(self) -> int:
        """How often the keys were asked for."""
        return self.count(KEYS_PATH)

    def publish(self, *signers: Signer) -> None:
        """Exchange the keys."""
        self.keys = Reply(body=jwks(*signers))

    def _reply(self, seen: Seen) -> Reply:
        if self.is_down:
            return Reply(503)
        if seen.path == DISCOVERY_PATH:
            return self.document or document(issuer=self.issuer.url, jwks_uri=f"{self.url}{KEYS_PATH}")
        if seen.path != KEYS_PATH:
            return Reply(404)
        extra = {} if self.max_age_s is None else {"cache-control": f"public, max-age={self.max_age_s}"}
        return replace(self.keys, headers={**extra, **self.keys.headers})


def document(**members: object) -> Reply:
    """Write a discovery document."""
    return Reply(body=json.dumps(members).encode(), headers={"content-type": "application/json"})


def jwks(*signers: Signer) -> bytes:
    """Write a key set."""
    return json.dumps({"keys": [public_jwk(signer.key.public_key(), signer.kid) for signer in signers]}).encode()
