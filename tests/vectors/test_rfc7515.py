# SPDX-License-Identifier: Apache-2.0
"""The examples of the JOSE standards: what is signed by an algorithm that we have verifies, the rest is refused for the right reason."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from podpass.errors import BadSignatureError, KeySetError, MalformedTokenError, TokenExpiredError, UnsupportedAlgorithmError
from podpass.verify import KeySet, parse
from podpass.verify.claims import check_lifetime
from podpass.verify.jwks import parse_jwk

VECTORS: dict[str, Any] = json.loads(Path(__file__).with_name("rfc7515.json").read_text("utf-8"))
TOKENS: dict[str, str] = VECTORS["tokens"]
KEYS: dict[str, dict[str, str]] = VECTORS["keys"]
CLAIMS = {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}


@pytest.mark.parametrize("example", ["A.2", "A.3"])
def test_examples_of_rs256_and_es256_verify(example: str) -> None:
    token = parse(TOKENS[example])
    parse_jwk({**KEYS[example], "kid": example}).check(token)
    assert token.payload.members == CLAIMS


@pytest.mark.parametrize("example", ["A.2", "A.3"])
def test_the_examples_ended_in_2011(example: str) -> None:
    claims = parse(TOKENS[example]).payload
    check_lifetime(claims, now=datetime(2011, 3, 22, 18, 42, 59, tzinfo=UTC), skew=timedelta(0))
    with pytest.raises(TokenExpiredError):
        check_lifetime(claims, now=datetime(2011, 3, 22, 18, 43, 0, tzinfo=UTC), skew=timedelta(0))


def test_a_signature_of_one_example_does_not_serve_another() -> None:
    swapped = TOKENS["A.3"].rpartition(".")[0] + "." + TOKENS["A.2"].rpartition(".")[2]
    with pytest.raises(BadSignatureError):
        parse_jwk({**KEYS["A.3"], "kid": "A.3"}).check(parse(swapped))


@pytest.mark.parametrize("example", ["A.1", "A.5"])
def test_a_shared_secret_and_no_signature_are_refused_by_every_key(example: str) -> None:
    for name in ("A.2", "A.3"):
        with pytest.raises(UnsupportedAlgorithmError):
            parse_jwk({**KEYS[name], "kid": name}).check(parse(TOKENS[example]))


def test_the_payload_of_the_es512_example_is_no_claims_and_its_key_is_skipped() -> None:
    with pytest.raises(MalformedTokenError, match="Its payload cannot be read: it is not JSON"):
        parse(TOKENS["A.4"])
    with pytest.raises(KeySetError):
        parse_jwk({**KEYS["A.4"], "kid": "A.4"})


def test_of_the_example_set_the_key_for_signatures_is_kept() -> None:
    keys = KeySet.parse(json.dumps(VECTORS["rfc7517_a1"]))
    assert [(key.kid, key.algorithm.name) for key in keys.keys.values()] == [("2011-04-29", "RS256")]
    assert [str(entry) for entry in keys.skipped] == ["'1': its `use` is not sig."]
