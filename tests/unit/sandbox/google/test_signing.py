# SPDX-License-Identifier: Apache-2.0
"""Signatures of service accounts, with the key that Google manages, against keys as they are published."""

import base64
import json
from pathlib import Path

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from unit.sandbox.google.world import CREDENTIALS, EMAIL, IAM, NOW, OWNER, STRANGER, World, refusal

JWK, X509 = (f"www.googleapis.com/service_accounts/v1/{kind}/{EMAIL}" for kind in ("jwk", "metadata/x509"))


@pytest.fixture
def signer(world: World) -> World:
    """A universe in which the operator may sign for the account."""
    world.account()
    world.grant(f"{IAM}/serviceAccounts/{EMAIL}", "roles/iam.serviceAccountTokenCreator", f"user:{OWNER}")
    return world


def test_a_blob_is_signed_by_the_key_that_is_published(signer: World) -> None:
    answer = signer.own("POST", f"{CREDENTIALS}:signBlob", {"payload": base64.b64encode(b"some bytes").decode(), "delegates": None})
    certificate = x509.load_pem_x509_certificate(signer.own("GET", X509, who="")[answer["keyId"]].encode())
    key = certificate.public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    key.verify(base64.b64decode(answer["signedBlob"]), b"some bytes", padding.PKCS1v15(), hashes.SHA256())
    assert certificate.subject.rfc4514_string() == f"CN={EMAIL}"


def test_a_jwt_is_signed_as_it_is(signer: World) -> None:
    claims = {"sub": "x", "exp": int(NOW.timestamp()) + 60_000 % 43_200, "own": [1]}
    answer = signer.own("POST", f"{CREDENTIALS}:signJwt", {"payload": json.dumps(claims)})
    (key,) = jwt.PyJWKSet.from_dict(signer.own("GET", JWK, who="")).keys
    assert jwt.get_unverified_header(answer["signedJwt"])["kid"] == key.key_id == answer["keyId"]
    assert jwt.decode(answer["signedJwt"], key.key, ["RS256"], options={"verify_exp": False}) == claims


@pytest.mark.parametrize("payload", ["", "[]", "{", '{"exp": 1}', '{"exp": "soon"}', '{"exp": true}', '{"exp": 99999999999}'])
def test_a_jwt_that_lives_too_long_or_is_none_is_refused(signer: World, payload: str) -> None:
    assert refusal(signer.ask("POST", f"{CREDENTIALS}:signJwt", {"payload": payload}))[:2] == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize("verb", ["signBlob", "signJwt"])
def test_signing_takes_its_own_permission(signer: World, verb: str) -> None:
    signer.grant(f"{IAM}/serviceAccounts/{EMAIL}", "roles/iam.workloadIdentityUser", f"user:{STRANGER}")
    answer = signer.ask("POST", f"{CREDENTIALS}:{verb}", {"payload": "e30="}, who=STRANGER)
    assert refusal(answer)[2] == f"Permission 'iam.serviceAccounts.{verb}' denied on resource (or it may not exist)."
    assert refusal(signer.ask("POST", f"{CREDENTIALS}:signBlob", {"payload": "*"}))[0] == 400


def test_an_open_id_token_creator_gets_id_tokens_and_nothing_else(signer: World) -> None:
    signer.grant(f"{IAM}/serviceAccounts/{EMAIL}", "roles/iam.serviceAccountOpenIdTokenCreator", f"user:{STRANGER}")
    assert "token" in signer.own("POST", f"{CREDENTIALS}:generateIdToken", {"audience": "https://x"}, who=STRANGER)
    assert signer.ask("POST", f"{CREDENTIALS}:generateAccessToken", {"scope": ["x"]}, who=STRANGER).status == 403


def test_each_account_has_a_key_of_its_own_and_a_new_account_a_new_one(signer: World) -> None:
    before = signer.own("GET", JWK, who="")["keys"][0]["kid"]
    assert before != signer.universe.signing_key.kid
    signer.own("DELETE", f"{IAM}/serviceAccounts/{EMAIL}")
    assert signer.ask("GET", JWK, who="").status == 404
    signer.account()
    assert signer.own("GET", JWK, who="")["keys"][0]["kid"] != before


def test_an_account_keeps_its_key_over_a_restart(tmp_path: Path) -> None:
    kids = set()
    for number in range(2):
        world = World(state_dir=tmp_path)
        if number == 0:
            world.account()
        kids.add(world.own("GET", JWK, who="")["keys"][0]["kid"])
        world.universe.close()
    assert len(kids) == 1
    (path,) = (tmp_path / "google").glob("account-*.key")
    assert path.stat().st_mode & 0o777 == 0o600


def test_discovery_leads_to_the_keys_of_id_tokens(signer: World) -> None:
    document = signer.own("GET", "accounts.google.com/.well-known/openid-configuration", who="")
    assert document["issuer"] == "https://accounts.google.com"
    keys = signer.own("GET", document["jwks_uri"].removeprefix("https://"), who="")
    token = signer.own("POST", f"{CREDENTIALS}:generateIdToken", {"audience": "https://x", "includeEmail": True})["token"]
    (key,) = jwt.PyJWKSet.from_dict(keys).keys
    claims = jwt.decode(
        token, key.key, ["RS256"], audience="https://x", issuer=document["issuer"], options={"verify_exp": False, "verify_iat": False}
    )
    assert (claims["email"], claims["email_verified"], claims["azp"], claims["exp"] - claims["iat"]) == (EMAIL, True, claims["sub"], 3600)
