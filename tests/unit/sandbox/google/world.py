# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from podpass.clock import SteppedClock
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.dispatcher import Dispatcher
from podpass.sandbox.google.message import Answer, Request
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.settings import SandboxSettings
from podpass.verify import public_jwk
from token_forge import Signer, kubernetes_claims, rsa_signer

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
OWNER, STRANGER = "operator@example.com", "stranger@example.com"
PROJECT, NUMBER = "demo-project", "415104041262"
IAM = f"iam.googleapis.com/v1/projects/{PROJECT}"
POOLS = f"{IAM}/locations/global/workloadIdentityPools"
POOL_NAME = f"projects/{NUMBER}/locations/global/workloadIdentityPools/demo-pool"
AUDIENCE = f"//iam.googleapis.com/{POOL_NAME}/providers/demo-oidc"
ISSUER = "https://kubernetes.default.svc.cluster.local"
SUBJECT = "system:serviceaccount:default:demo"
EMAIL = f"demo-sa@{PROJECT}.iam.gserviceaccount.com"
CREDENTIALS = f"iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}"
MAPPING = {"google.subject": "assertion.sub", "attribute.namespace": "assertion['kubernetes.io'].namespace"}


class World:
    """A universe with a clock that stands still, and somebody to ask it."""

    def __init__(self, **settings: Any) -> None:  # noqa: ANN401 - settings of any type
        self.clock = SteppedClock(NOW)
        self.universe = Universe(SandboxSettings(**settings), self.clock)
        self.google = Dispatcher(self.universe, SERVICES)

    def ask(self, verb: str, url: str, body: object = None, *, who: str = OWNER, token: str = "", **headers: str) -> Answer:
        """Send one request as a user, with a token, or with neither."""
        host, _, rest = url.partition("/")
        path, _, query = rest.partition("?")
        token = token or (self.universe.identities.user_token(who, []) if who else "")
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        fields |= {"authorization": f"Bearer {token}"} if token else {}
        return self.google.handle(Request(verb, host, f"/{path}", query, fields, content))

    def own(self, verb: str, url: str, body: object = None, **more: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Ask as the owner for something that must succeed."""
        answer = self.ask(verb, url, body, **more)
        assert answer.status == 200, answer
        return json.loads(answer.body)

    def wait(self, span: timedelta | None = None) -> None:
        """Let policies come into effect, or some other time pass."""
        self.clock.step(self.universe.settings.propagation if span is None else span)

    def grant(self, url: str, role: str, *members: str) -> None:
        """Add a binding to a policy, and let it come into effect."""
        policy = self.own("POST", f"{url}:getIamPolicy")
        policy.setdefault("bindings", []).append({"role": role, "members": list(members)})
        self.own("POST", f"{url}:setIamPolicy", {"policy": policy})
        self.wait()

    def account(self) -> None:
        self.own("POST", f"{IAM}/serviceAccounts", {"accountId": "demo-sa"})
        self.wait(self.universe.settings.account_visibility)

    def pool(self) -> None:
        self.own("POST", f"{POOLS}?workloadIdentityPoolId=demo-pool", {"displayName": "Demo"})

    def federate(self, signer: Signer | None = None, **provider: object) -> None:
        """Make the pool and a provider that trusts a key, inline."""
        key = signer or rsa_signer()
        oidc = {"issuerUri": ISSUER, "jwksJson": json.dumps({"keys": [public_jwk(key.key.public_key(), key.kid)]})}
        self.pool()
        body = {"attributeMapping": MAPPING, "oidc": oidc, **provider}
        self.own("POST", f"{POOLS}/demo-pool/providers?workloadIdentityPoolProviderId=demo-oidc", body)

    def exchange(self, token: str | None = None, **changed: str) -> Answer:
        """Ask the STS as google-auth does."""
        fields = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "audience": AUDIENCE,
            "scope": "https://www.googleapis.com/auth/cloud-platform",
            "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "subject_token": subject_token() if token is None else token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            **changed,
        }
        body = urlencode(fields).encode()
        return self.ask("POST", "sts.googleapis.com/v1/token", body, who="", content_type="application/x-www-form-urlencoded")

    def federated(self, token: str | None = None, **changed: str) -> str:
        """Return a federated token."""
        answer = self.exchange(token, **changed)
        assert answer.status == 200, answer
        return str(json.loads(answer.body)["access_token"])


def subject_token(**changed: Any) -> str:  # noqa: ANN401 - any claim
    """Make a subject token that the provider of `federate` accepts."""
    now = int(NOW.timestamp())
    claims = {"iss": ISSUER, "aud": [AUDIENCE], "sub": SUBJECT, "iat": now, "nbf": now, "exp": now + 3600, **changed}
    return rsa_signer().token(kubernetes_claims(**claims))


def refusal(answer: Answer) -> tuple[int, str, str]:
    """Return code, status and message of Google's error model."""
    told = json.loads(answer.body)["error"]
    assert told["code"] == answer.status
    return told["code"], told["status"], told["message"]


def reason(answer: Answer) -> str:
    """Return the reason of its ErrorInfo."""
    details = json.loads(answer.body)["error"]["details"]
    return str(next(each["reason"] for each in details if each["@type"].endswith("ErrorInfo")))
