# SPDX-License-Identifier: Apache-2.0
"""Pods of one workload in front of a sandbox, all on one clock that the test moves. No pod runs: each is a token cache of its own."""

import asyncio
import json
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Self

import httpx2

from key_hangar import Hangar
from podpass.clock import SteppedClock
from podpass.errors import ExchangeUnavailableError
from podpass.exchange.credential_config import CredentialConfig
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.tokens import AccessToken
from podpass.exchange.workload_tokens import WorkloadTokens
from podpass.metadata.account import Settings
from podpass.metadata.asgi import MetadataApp
from podpass.metadata.health import Health
from podpass.metadata.incoming import Gate
from podpass.metadata.sidecar import Sidecar
from podpass.names import GoogleServiceAccount, PoolName, Secret
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings
from podpass.verify import public_jwk
from token_forge import ec_signer, kubernetes_claims

PROVIDER: Final = PoolName("415104041262", "demo-pool").provider("demo-oidc")
ACCOUNT: Final = GoogleServiceAccount.parse("demo-sa@demo-project.iam.gserviceaccount.com")
_ISSUER = "https://kubernetes.default.svc.cluster.local"
_SIGNER = ec_signer()
_PROJECT = "https://iam.googleapis.com/v1/projects/demo-project"
_POOL = f"{_PROJECT}/locations/global/workloadIdentityPools"


class Cluster:
    """Gives subject tokens by the clock, as kubelet does."""

    def __init__(self, clock: SteppedClock) -> None:
        self._clock = clock

    def __str__(self) -> str:
        return "the pod's volume"

    def read(self) -> Secret[str]:
        """Return a token with an hour to live."""
        now = int(self._clock.now().timestamp())
        claims = {"iss": _ISSUER, "aud": [PROVIDER.audience], "iat": now, "nbf": now, "exp": now + 3600}
        return Secret(_SIGNER.token(kubernetes_claims(**claims)), "subject token")


class Pod:
    """A token cache and its thread pool, which works when the pod is given time; every other pod acts as an account."""

    def __init__(self, world: "World", number: int) -> None:
        self._hangar = Hangar()
        self._clock = world.clock
        self.tokens = WorkloadTokens(
            Cluster(world.clock),
            Exchanger(PROVIDER, service_account=ACCOUNT if number % 2 else None, http=world.client(), clock=world.clock),
            clock=world.clock,
            patience_s=0,
            launch=self._hangar.launch,
            chance=random.Random(number).random,
            sleep=lambda seconds: world.clock.step(timedelta(seconds=seconds)),
        )

    def ask(self) -> AccessToken | ExchangeUnavailableError:
        """Ask for a token as an application does, and let the fetch land that this may have begun."""
        for _ in range(2):
            try:
                token = self.tokens.access_token()
            except ExchangeUnavailableError as error:
                outcome: AccessToken | ExchangeUnavailableError = error
                self._hangar.land()
                if error.flight is None:
                    break
            else:
                self._hangar.land()
                return token
        return outcome


class World:
    """Google's side with one federated workload, on a clock of its own; a context manager."""

    def __init__(self) -> None:
        self.clock = SteppedClock(datetime.now(UTC))
        self._stack = ExitStack()
        self.sandbox: HostedSandbox

    def __enter__(self) -> Self:
        settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0))
        self.sandbox = self._stack.enter_context(HostedSandbox(settings, with_cluster=False, clock=self.clock))
        self._federate()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def client(self, **headers: str) -> httpx2.Client:
        """Return a client inside the sandbox, with connections of its own."""
        environment = self.sandbox.environment()
        trust = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        return self._stack.enter_context(
            httpx2.Client(proxy=environment["HTTPS_PROXY"], verify=trust, headers=headers, trust_env=False, timeout=60)
        )

    def weather(self, *rules: dict[str, Any], **google: object) -> None:
        """Put faults into effect."""
        spec = {"rules": rules, "google": google}
        self.sandbox.change_faults(
            json.dumps({"apiVersion": "podpass.dev/v1alpha1", "kind": "Faults", "metadata": {"name": "outage"}, "spec": spec})
        )

    def requests(self, since: int = 0) -> Counter[str]:
        """Count what the sandbox's log has of the exchange, by method."""
        return Counter(str(entry["method"]) for entry in self.sandbox.requests()[since:])

    def seconds(self, until: float, step: float) -> Iterator[float]:
        """Let time pass; yield each moment, in seconds since the beginning."""
        begun = self.clock.now()
        while (elapsed := (self.clock.now() - begun).total_seconds()) < until:
            yield elapsed
            self.clock.step(timedelta(seconds=step))

    def _federate(self) -> None:
        client = self.client(authorization=f"Bearer {self.sandbox.universe.identities.user_token('operator@example.com', [])}")
        keys = json.dumps({"keys": [public_jwk(_SIGNER.key.public_key(), _SIGNER.kid)]})
        provider = {"attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": _ISSUER, "jwksJson": keys}}
        everybody = f"principalSet://iam.googleapis.com/{PROVIDER.pool}/*"
        policy = {"bindings": [{"role": "roles/iam.workloadIdentityUser", "members": [everybody]}]}
        for url, body in (
            (f"{_PROJECT}/serviceAccounts", {"accountId": "demo-sa"}),
            (f"{_POOL}?workloadIdentityPoolId=demo-pool", {}),
            (f"{_POOL}/demo-pool/providers?workloadIdentityPoolProviderId=demo-oidc", provider),
            (f"{_PROJECT}/serviceAccounts/{ACCOUNT}:setIamPolicy", {"policy": policy}),
        ):
            client.post(url, json=body).raise_for_status()


TOKEN: Final = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token"


@asynccontextmanager
async def metadata_server(world: World, path: Path) -> AsyncIterator[httpx2.AsyncClient]:
    """Run a pod's metadata server in this event loop; its fetches have real threads."""
    source = Cluster(world.clock)
    path.write_text(source.read().reveal())  # noqa: ASYNC240 - a few bytes, before anything else runs
    exchanger = Exchanger(PROVIDER, service_account=ACCOUNT, http=world.client(), clock=world.clock)
    tokens = WorkloadTokens(source, exchanger, clock=world.clock, sleep=lambda seconds: world.clock.step(timedelta(seconds=seconds)))
    sidecar = Sidecar(Settings(CredentialConfig(PROVIDER, str(path), service_account=ACCOUNT)), lambda _: tokens)
    app = MetadataApp(sidecar, Gate.for_port(80), Health(lambda: sidecar.not_ready), clock=world.clock)
    working = asyncio.get_running_loop().create_task(sidecar.run())
    try:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), headers={"metadata-flavor": "Google"}) as client:
            yield client
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
