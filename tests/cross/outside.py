# SPDX-License-Identifier: Apache-2.0
"""Programs from outside, run in a sandbox's environment, and an issuer that signs as a cluster does, with PyJWT."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from podpass.sandbox.hosting import HostedSandbox

PROJECT, NUMBER = "demo-project", "415104041262"
POOL = f"projects/{NUMBER}/locations/global/workloadIdentityPools/workload-identity-demo"
PROVIDER = f"{POOL}/providers/wif-demo-oidc"
SUBJECT = "system:serviceaccount:default:workload-identity-demo"
ACCOUNT = f"wif-demo-sa@{PROJECT}.iam.gserviceaccount.com"
_TIME_LIMIT_S = 600


@dataclass(frozen=True)
class Outside:
    """Runs programs as the user who is logged in to a sandbox, in one directory."""

    sandbox: HostedSandbox
    directory: Path

    def run(self, *command: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end, whatever that is."""
        variables = os.environ | self.sandbox.environment() | dict(environment or {})
        return subprocess.run(
            command, input=stdin, capture_output=True, env=variables, cwd=self.directory, timeout=_TIME_LIMIT_S, check=False
        )

    def does(self, *command: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Run a program that must succeed; return its output."""
        ended = self.run(*command, stdin=stdin, environment=environment)
        assert ended.returncode == 0, f"{command} ended with {ended.returncode}:\n{ended.stdout.decode()}\n{ended.stderr.decode()}"
        return ended.stdout.decode()

    def fails(self, *command: str, stdin: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Run a program that must fail; return what it says."""
        ended = self.run(*command, stdin=stdin, environment=environment)
        assert ended.returncode != 0, f"{command} succeeded:\n{ended.stdout.decode()}"
        return ended.stderr.decode()

    def callers(self, method: str) -> list[str]:
        """Name the callers of a method so far, as the sandbox knew them."""
        return [entry["caller"] for entry in self.sandbox.requests() if entry["method"] == method]


@dataclass
class Issuer:
    """A cluster's issuer: one RSA key, its two documents, and tokens of service accounts."""

    url: str
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def keys(self) -> str:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        del public["key_ops"]  # which Google's providers do not take
        return json.dumps({"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]})

    @property
    def configuration(self) -> str:
        supported = {"response_types_supported": ["id_token"], "subject_types_supported": ["public"]}
        return json.dumps(
            {"issuer": self.url, "jwks_uri": f"{self.url}/keys.json", **supported, "id_token_signing_alg_values_supported": ["RS256"]}
        )

    def token(self, *, audience: str = f"//iam.googleapis.com/{PROVIDER}", subject: str = SUBJECT, **claims: Any) -> str:  # noqa: ANN401 - as JSON
        now = int(time.time())
        payload = {"iss": self.url, "sub": subject, "aud": [audience], "iat": now, "exp": now + 3600, **claims}
        return jwt.encode(payload, self.key, "RS256", {"kid": "one"})
