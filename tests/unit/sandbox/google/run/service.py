# SPDX-License-Identifier: Apache-2.0
"""A service of Cloud Run in a universe with a clock, and ID tokens for it."""

from functools import cache
from typing import Any

from podpass.sandbox.google.identities import user_id
from podpass.sandbox.google.run.services import KIND
from podpass.sandbox.google.signing import SigningKey
from podpass.sandbox.store import Record
from unit.sandbox.google.world import EMAIL, PROJECT, World

REGION, NAME = "us-central1", "auth-server"
SERVING = f"{REGION}-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/{PROJECT}"
SERVICE = f"{SERVING}/services/{NAME}"
POLICY = f"run.googleapis.com/v1/projects/{PROJECT}/locations/{REGION}/services/{NAME}"
URL = f"https://{NAME}-3bn4pjeuhv-uc.a.run.app"
NUMBERED_URL = f"https://{NAME}-415104041262.us-central1.run.app"


def service(name: str = NAME, annotations: dict[str, str] | None = None, **container: object) -> dict[str, Any]:
    """Return what a client sends to make a service."""
    containers = [{"image": "podpass.dev/demo/auth-server", **container}]
    return {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"template": {"spec": {"containers": containers}}},
    }


@cache
def _key() -> SigningKey:
    return SigningKey(None)


def deployed(world: World, **annotations: str) -> Record:
    """Make the service, in a universe whose signing key need not be made each time."""
    world.universe.signing_key = _key()
    named = {f"run.googleapis.com/{name.replace('_', '-')}": value for name, value in annotations.items()}
    world.own("POST", f"{SERVING}/services", service(annotations=named))
    record = world.universe.store.get(KIND, f"{PROJECT}/{REGION}/{NAME}")
    assert record
    return record


def invoker(world: World, *members: str, role: str = "roles/run.invoker") -> None:
    """Let exactly these invoke the service, in effect at once."""
    world.own("POST", f"{POLICY}:setIamPolicy", {"policy": {"bindings": [{"role": role, "members": list(members)}]}})
    world.wait()


def account_claims(world: World, audience: str = URL, **changed: object) -> dict[str, Any]:
    """Return the claims of an ID token of the account, as Google makes them."""
    account = world.universe.store.get("serviceAccount", EMAIL)
    assert account
    now = int(world.clock.now().timestamp())
    subject = account.value["uniqueId"]
    return {"iss": "https://accounts.google.com", "aud": audience, "azp": subject, "sub": subject, "iat": now, "exp": now + 3600, **changed}


def account_token(world: World, audience: str = URL, **changed: object) -> str:
    """Return an ID token of the account."""
    return world.universe.signing_key.sign(account_claims(world, audience, **changed))


def user_token(world: World, email: str, audience: str = URL) -> str:
    """Return an ID token of a user."""
    now = int(world.clock.now().timestamp())
    who = {"sub": user_id(email), "email": email, "email_verified": True}
    return world.universe.signing_key.sign({"iss": "https://accounts.google.com", "aud": audience, "iat": now, "exp": now + 3600, **who})
