# SPDX-License-Identifier: Apache-2.0
import base64
import json
from datetime import timedelta

import jwt
import pytest

from podpass.errors import BadSignatureError, ConfigError, UnknownKeyError, WrongAudienceError, WrongIssuerError
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.settings import KeyType
from podpass.sandbox.token_issuer import TokenIssuer, make_key
from unit.sandbox.kubernetes.api_world import NOON

ISSUER = "https://kubernetes.default.svc.cluster.local"
NOW_S = int(NOON.timestamp())
CLAIMS = {"sub": "system:serviceaccount:default:a", "aud": ["x"], "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 600, "jti": "1"}


@pytest.fixture(scope="module")
def issuer() -> TokenIssuer:
    return TokenIssuer((ISSUER,), (make_key("p256"),))


@pytest.mark.parametrize(("key_type", "algorithm"), [("rsa2048", "RS256"), ("p256", "ES256")])
def test_another_library_accepts_its_tokens_by_its_published_keys(key_type: KeyType, algorithm: str) -> None:
    signer = TokenIssuer((ISSUER,), (make_key(key_type),))
    token = signer.sign(CLAIMS)
    key = jwt.PyJWKSet.from_dict(signer.jwks())[jwt.get_unverified_header(token)["kid"]]
    options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    assert jwt.decode(token, key, [algorithm], audience="x", issuer=ISSUER, options=options)["sub"] == CLAIMS["sub"]  # type: ignore[arg-type] # its options are a closed TypedDict


def test_header_and_claims_are_as_the_real_server_writes_them(issuer: TokenIssuer) -> None:
    header, payload, _ = issuer.sign(CLAIMS).split(".")
    assert set(jwt.get_unverified_header(f"{header}.{payload}.")) == {"alg", "kid"}
    assert list(json.loads(base64.urlsafe_b64decode(payload + "=="))) == ["aud", "exp", "iat", "iss", "jti", "nbf", "sub"]


def test_refusals(issuer: TokenIssuer) -> None:
    token = issuer.sign(CLAIMS)
    assert issuer.verify(token, ("x", "y"), NOON).audience == "x"
    with pytest.raises(WrongAudienceError):
        issuer.verify(token, ("y",), NOON)
    with pytest.raises(WrongIssuerError):
        TokenIssuer(("https://other.example",), issuer.keys).verify(token, ("x",), NOON)
    with pytest.raises(UnknownKeyError):
        TokenIssuer((ISSUER,), (make_key("p256"),)).verify(token, ("x",), NOON)
    with pytest.raises(BadSignatureError):
        issuer.verify(token[:-4] + "AAAA", ("x",), NOON)
    assert issuer.verify(token, ("x",), NOON + timedelta(seconds=659)).subject == CLAIMS["sub"]


def test_a_restart_can_keep_and_drop(issuer: TokenIssuer) -> None:
    new_key = make_key("p256")
    kept = issuer.after(IssuerChange(issuer="https://new.example"), new_key)
    assert kept.issuers == ("https://new.example", ISSUER)
    assert kept.keys == (new_key, *issuer.keys)
    dropped = issuer.after(IssuerChange(issuer="https://new.example", accepted_issuers=(), keep_old_keys=False), new_key)
    assert (dropped.issuers, dropped.keys) == (("https://new.example",), (new_key,))
    assert kept.after(IssuerChange(keep_old_keys=False), None).keys == (new_key,)


@pytest.mark.parametrize(
    "issuer_url", ["http://plain.example", "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"]
)
def test_issuers_that_no_api_server_may_have_are_refused(issuer: TokenIssuer, issuer_url: str) -> None:
    with pytest.raises(ConfigError):
        issuer.after(IssuerChange(issuer=issuer_url), None)


def test_it_is_kept_as_json(issuer: TokenIssuer) -> None:
    again = TokenIssuer.from_json(json.loads(json.dumps(issuer.to_json())))
    assert again.issuers == issuer.issuers
    assert again.jwks() == issuer.jwks()
