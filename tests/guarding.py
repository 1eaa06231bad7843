# SPDX-License-Identifier: Apache-2.0
"""What guards are tested with: a policy, keys and a reviewer that tests bend, and tokens good and bad."""

from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from callers import google_claims, keys_of
from podpass.clock import SteppedClock
from podpass.discovery.static import StaticKeys
from podpass.errors import KeysUnavailableError, ReviewUnavailableError, TokenRevokedError
from podpass.guard import Guard, IssuerKeys, Wiring
from podpass.names import Secret
from podpass.policy import InvokerPolicy, TrustedIssuer
from podpass.policy.reading import parse
from podpass.verify import KeySet, VerificationKey
from podpass.verify.identity import Identity
from token_forge import AUDIENCE, NOW, Signer, ec_signer, kubernetes_claims, rsa_signer

CLUSTER, GOOGLE_SIGNER, FOREIGN = ec_signer("cluster-1"), rsa_signer("google-1"), ec_signer("foreign-1")
POLICY = f"""\
apiVersion: podpass.dev/v1alpha1
kind: InvokerPolicy
metadata: {{name: contract}}
spec:
  audiences: [{AUDIENCE}]
  issuers:
    cluster: {{kind: kubernetes, url: https://oidc.example/cluster-a, apiAudiences: [my-api]}}
    google: {{kind: google}}
    down: {{kind: oidc, url: https://down.example}}
  rules:
    - {{name: open, paths: [/], members: [allUsers]}}
    - {{name: private, paths: [/private, /private/**], methods: [GET], members: ["kubernetes:cluster/shop/checkout"]}}
    - name: node
      paths: [/node]
      members: [allAuthenticatedUsers]
      condition: identity.kubernetes.node.name == 'node-1'
    - {{name: reviewed, paths: [/reviewed], members: ["kubernetes:cluster/*/*"], tokenReview: true}}
  mode: MODE
"""


def policy(mode: str = "enforce") -> InvokerPolicy:
    """Read the policy that the suites share."""
    return parse(POLICY.replace("MODE", mode).encode(), Path("/etc/podpass/policy.yaml"))


@dataclass
class LiveKeys:
    """Keys that a test can exchange, or take away; `flight` is what is under way to get them."""

    signers: tuple[Signer, ...] = ()
    is_down: bool = False
    generation: int = 1
    flight: "Future[object] | None" = None
    asked: int = 0

    def known(self) -> KeySet | None:
        return None if self.is_down else keys_of(*self.signers)

    def find(self, kid: str | None) -> VerificationKey:
        self.asked += 1
        if self.is_down:
            raise KeysUnavailableError("The keys cannot be had.", "Connection refused.", retry_after_s=2.5, flight=self.flight)
        return keys_of(*self.signers).find(kid)

    def publish(self, *signers: Signer) -> None:
        """Exchange the keys."""
        self.signers, self.is_down = signers, False
        self.generation += 1


@dataclass
class Provider:
    """Hands out keys by the issuer's name."""

    keys: dict[str, IssuerKeys] = field(default_factory=dict)

    def keys_of(self, issuer: TrustedIssuer) -> IssuerKeys:
        return StaticKeys.read(issuer.keys) if isinstance(issuer.keys, Path) else self.keys[issuer.name]


@dataclass
class Reviews:
    """An API server that is asked about tokens: what it no longer stands by, and whether it can be reached."""

    gone: set[str] = field(default_factory=set)
    is_down: bool = False
    asked: list[tuple[str, str]] = field(default_factory=list)
    flight: "Future[object] | None" = None

    def review(self, token: Secret[str], identity: Identity, *, now: datetime) -> None:
        assert now == NOW
        assert token.reveal().count(".") == 2
        self.asked.append((identity.subject, identity.audience))
        if self.is_down:
            raise ReviewUnavailableError("The API server cannot be asked.", retry_after_s=1, flight=self.flight)
        if identity.subject in self.gone:
            raise TokenRevokedError("The API server no longer stands by the token.", "Its pod is gone.", "Send the token of a running pod.")


@dataclass
class World:
    """A guard with everything around it."""

    mode: str = "enforce"
    cluster: LiveKeys = field(default_factory=lambda: LiveKeys((CLUSTER,)))
    google: LiveKeys = field(default_factory=lambda: LiveKeys((GOOGLE_SIGNER,)))
    down: LiveKeys = field(default_factory=lambda: LiveKeys(is_down=True))
    reviews: Reviews = field(default_factory=Reviews)
    clock: SteppedClock = field(default_factory=lambda: SteppedClock(NOW))

    def wiring(self, **more: Any) -> Wiring:  # noqa: ANN401 - keywords of Wiring
        keys: dict[str, IssuerKeys] = {"cluster": self.cluster, "google": self.google, "down": self.down}
        return Wiring(keys=Provider(keys), reviewer=self.reviews, clock=self.clock, **more)

    def guard(self, **more: Any) -> Guard:  # noqa: ANN401 - keywords of Wiring
        return Guard.from_policy(policy(self.mode), self.wiring(**more))


def bearer(token: str, name: str = "authorization") -> tuple[bytes, bytes]:
    """Return the header that carries a token."""
    return name.encode(), f"Bearer {token}".encode()


def good(**changed: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a token of shop/checkout, with changed claims."""
    return CLUSTER.token(kubernetes_claims(**changed))


def of(namespace: str, name: str, **changed: Any) -> str:  # noqa: ANN401 - any JSON
    """Return a token of another service account of the cluster."""
    bound = {"namespace": namespace, "serviceaccount": {"name": name, "uid": "u"}}
    return good(**{"sub": f"system:serviceaccount:{namespace}:{name}", "kubernetes.io": bound, **changed})


def google(**changed: Any) -> str:  # noqa: ANN401 - any JSON
    """Return an ID token of Google."""
    return GOOGLE_SIGNER.token(google_claims(**changed))


def seconds_from_now(seconds: float) -> int:
    """Return a NumericDate."""
    return int((NOW + timedelta(seconds=seconds)).timestamp())
