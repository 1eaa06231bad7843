# SPDX-License-Identifier: Apache-2.0
import json

import pytest

from podpass.sandbox.google.message import Answer, Request
from podpass.verify import public_jwk
from token_forge import rsa_signer
from unit.sandbox.google.world import World, subject_token

BUCKET = "https://storage.googleapis.com/demo-oidc"
KEY = rsa_signer()


def publish(world: World, path: str, document: object, cache_control: str = "public, max-age=0") -> None:
    metadata = json.dumps({"name": path, "contentType": "application/json", "cacheControl": cache_control})
    parts = [f"--b\r\nContent-Type: application/json\r\n\r\n{part}\r\n" for part in (metadata, json.dumps(document))]
    body = f"{''.join(parts)}--b--"
    url = "storage.googleapis.com/upload/storage/v1/b/demo-oidc/o?uploadType=multipart&predefinedAcl=publicRead"
    world.own("POST", url, body.encode(), content_type="multipart/related; boundary=b")


def issuer_in_a_bucket(world: World, **discovery: object) -> None:
    world.own("POST", "storage.googleapis.com/storage/v1/b?project=demo-project", {"name": "demo-oidc"})
    document = {"issuer": BUCKET, "jwks_uri": f"{BUCKET}/keys.json", **discovery}
    publish(world, ".well-known/openid-configuration", document)
    publish(world, "keys.json", {"keys": [public_jwk(KEY.key.public_key(), KEY.kid)]})
    world.federate(oidc={"issuerUri": BUCKET})


def error(answer: Answer) -> str:
    return str(json.loads(answer.body)["error_description"])


def test_an_issuer_in_a_bucket_is_read_as_anybody_would(world: World) -> None:
    issuer_in_a_bucket(world)
    assert world.exchange(subject_token(iss=BUCKET)).status == 200
    read = [each for each in world.universe.log.entries() if each["path"].startswith("/demo-oidc/")]
    assert [(each["path"], each["status"], each["caller"]) for each in read] == [
        ("/demo-oidc/.well-known/openid-configuration", 200, "anonymous"),
        ("/demo-oidc/keys.json", 200, "anonymous"),
    ]


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": f"{BUCKET}/"},
        {"jwks_uri": "https://keys.example/keys.json"},
        {"jwks_uri": "http://storage.googleapis.com/demo-oidc/keys.json"},
        {"jwks_uri": f"{BUCKET}/other.json"},
        {"jwks_uri": f"{BUCKET}/.well-known/openid-configuration"},
        {"jwks_uri": None},
        {"padding": "x" * (1 << 20)},
    ],
    ids=["another issuer", "outside", "http", "no keys there", "no key set there", "no address", "too large"],
)
def test_a_broken_issuer_cannot_be_connected_to(world: World, discovery: dict[str, object]) -> None:
    issuer_in_a_bucket(world, **discovery)
    assert error(world.exchange(subject_token(iss=BUCKET))) == "Error connecting to the given credential's issuer."


def test_documents_are_kept_for_their_max_age(world: World) -> None:
    issuer_in_a_bucket(world)
    publish(world, "keys.json", {"keys": [public_jwk(KEY.key.public_key(), KEY.kid)]}, cache_control="public, max-age=60")
    assert world.exchange(subject_token(iss=BUCKET)).status == 200
    publish(world, "keys.json", {"keys": [public_jwk(KEY.key.public_key(), "renamed")]})
    assert world.exchange(subject_token(iss=BUCKET)).status == 200
    world.wait(world.universe.settings.propagation * 60)
    assert error(world.exchange(subject_token(iss=BUCKET))) == "Error connecting to the given credential's issuer."


def test_a_host_of_the_universe_without_documents_is_no_issuer(world: World) -> None:
    assert world.google.handle(Request("GET", "iam.googleapis.com", "/.well-known/openid-configuration")).status == 501
    world.federate(oidc={"issuerUri": "https://iam.googleapis.com"})
    assert error(world.exchange(subject_token(iss="https://iam.googleapis.com"))) == "Error connecting to the given credential's issuer."
