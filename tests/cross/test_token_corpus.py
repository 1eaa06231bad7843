# SPDX-License-Identifier: Apache-2.0
"""`verify` beside PyJWT, joserfc and google-auth on a generated corpus: they agree, or the difference stands in the table with its reason.

The libraries read the machine's clock, so the corpus is made around the present; its margins are minutes, nobody waits for anything.
"""

import binascii
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt as pyjwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.auth import exceptions as google_exceptions
from google.auth import jwt as google_jwt
from joserfc import errors as joserfc_errors
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

from podpass.errors import TokenError
from podpass.names import Audience, Issuer
from podpass.verify import KeySet, VerificationKey, Verifier
from token_corpus import BAD, COMMON, GOOD, SIGNERS, Case, MixedCase, corpus, mixed
from token_forge import AUDIENCE, ISSUER

# joserfc warns of the name EdDSA: RFC 9864 has Ed25519 for it, which issuers do not write yet.
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
KEYS = KeySet.of(VerificationKey.of(signer.key.public_key(), signer.kid, name) for name, signer in SIGNERS.items())
JWKS = json.loads(KEYS.canonical_json())
ALGORITHMS = list(SIGNERS)
VERIFIER = Verifier(
    issuer=Issuer.parse(ISSUER),
    audiences=[Audience.parse(AUDIENCE)],
    keys=KeySet.parse(json.dumps(JWKS), algorithms=ALGORITHMS),
    skew=timedelta(seconds=60),
    algorithms=ALGORITHMS,
)
PYJWT_KEYS = {key.key_id: key for key in pyjwt.PyJWKSet.from_dict(JWKS).keys}
JOSERFC_KEYS = joserfc_jwk.KeySet.import_key_set(JWKS)
JOSERFC_CLAIMS = joserfc_jwt.JWTClaimsRegistry(
    leeway=60,
    iss={"essential": True, "value": ISSUER},
    aud={"essential": True, "value": AUDIENCE},
    exp={"essential": True},
    sub={"essential": True},
)
PEMS = {signer.kid: signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo) for signer in SIGNERS.values()}
# google-auth has no types.
GOOGLE_DECODE: Callable[..., object] = google_jwt.decode
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "verification.md"

# library: reason: the kinds on which its verdict is the opposite of ours. Each row also stands on the page.
DIFFERENCES: dict[str, dict[str, set[str]]] = {
    "PyJWT": {
        "ignores header members that name a key or an extension it does not use": {"b64", "jwk", "jku", "x5u", "x5c"},
        "does not look at `typ`": {"typ of a logout token", "typ a number"},
        "reads a string of digits as a date": {"exp a string", "nbf a string", "iat a string"},
        "has no upper bound for dates": {"exp beyond the calendar"},
        "takes an empty `sub`": {"empty subject"},
        "reads JSON with Python's parser: last of duplicate members, NaN, lone surrogates, any depth": {
            "sub twice",
            "sub twice, once escaped",
            "alg twice",
            "claim NaN",
            "lone surrogate",
            "nested 40 deep",
        },
        "takes padding": {"padding"},
        "has no limit of size": {"over 16 KiB"},
    },
    "joserfc": {
        "ignores header members that name a key or an extension it does not use": {"b64", "jwk", "jku", "x5u", "x5c"},
        "does not look at `typ`": {"typ of a logout token"},
        "has no upper bound for dates": {"exp beyond the calendar"},
        "reads JSON with Python's parser: last of duplicate members, NaN, lone surrogates, any depth": {
            "sub twice",
            "sub twice, once escaped",
            "alg twice",
            "claim NaN",
            "lone surrogate",
            "nested 40 deep",
        },
        "has no limit of size": {"over 16 KiB"},
        "refuses header members that no standard knows; RFC 7515, 4 has them ignored": {"header member nobody knows"},
    },
    "google-auth": {
        "looks at `alg` and `kid` of the header only": {
            "crit",
            "crit of an unknown extension",
            "b64",
            "jwk",
            "jku",
            "x5u",
            "x5c",
            "typ of a logout token",
            "typ a number",
        },
        "leaves `iss` and `sub` to its caller": {
            "another issuer",
            "issuer with a slash",
            "no issuer",
            "no subject",
            "empty subject",
            "subject a number",
        },
        "does not look at `nbf`": {"not yet valid", "nbf a string"},
        "demands `iat`": {"no iat"},
        "takes `aud` as one string only": {"audience in a list, as Kubernetes writes it", "one of several audiences"},
        "has no upper bound for dates": {"exp beyond the calendar"},
        "reads JSON with Python's parser: last of duplicate members, NaN, lone surrogates, any depth": {
            "sub twice",
            "sub twice, once escaped",
            "alg twice",
            "claim NaN",
            "lone surrogate",
            "nested 40 deep",
        },
        "takes every spelling of base64": {"padding", "plain base64", "trailing bits"},
        "has no limit of size": {"over 16 KiB"},
    },
}


def podpass_verifies(token: str) -> None:
    VERIFIER.verify(token, now=datetime.now(UTC))


def pyjwt_verifies(token: str) -> None:
    key = PYJWT_KEYS[pyjwt.get_unverified_header(token)["kid"]]
    required = {"require": ["exp", "iss", "aud", "sub"]}
    pyjwt.decode(token, key, algorithms=ALGORITHMS, audience=AUDIENCE, issuer=ISSUER, leeway=60, options=required)  # type: ignore[arg-type] # its options are a TypedDict


def joserfc_verifies(token: str) -> None:
    JOSERFC_CLAIMS.validate(joserfc_jwt.decode(token, JOSERFC_KEYS, algorithms=ALGORITHMS).claims)


def google_auth_verifies(token: str) -> None:
    GOOGLE_DECODE(token, certs=PEMS, audience=AUDIENCE, clock_skew_in_seconds=60)


# How each says no. KeyError is our own look-up of the kid for PyJWT; google-auth lets TypeError and binascii.Error through.
VERDICTS: dict[str, tuple[Callable[[str], None], tuple[type[Exception], ...]]] = {
    "podpass": (podpass_verifies, (TokenError,)),
    "PyJWT": (pyjwt_verifies, (pyjwt.InvalidTokenError, KeyError)),
    "joserfc": (joserfc_verifies, (joserfc_errors.JoseError,)),
    "google-auth": (google_auth_verifies, (google_exceptions.GoogleAuthError, TypeError, binascii.Error)),
}


def accepts(library: str, token: str) -> bool:
    verify, refusals = VERDICTS[library]
    try:
        verify(token)
    except refusals:
        return False
    return True


@dataclass(frozen=True)
class Judged:
    """The corpus and, for each library, the kinds with the set of answers to: is the verdict the one the token was made for?"""

    cases: list[Case]
    agreed: dict[str, dict[str, set[bool]]]


def judge(*, parts: int, good: int, bad: int) -> Judged:
    judged = Judged([], {library: defaultdict(set) for library in VERDICTS})
    # In parts: some tokens are valid for less than a minute more, and the libraries' clock does not stand still.
    for part in range(parts):
        cases = corpus(seed=20260301 + part, now_s=int(datetime.now(UTC).timestamp()), good=good, bad=bad)
        judged.cases.extend(cases)
        for library in VERDICTS:
            for case in cases:
                if library != "google-auth" or case.algorithm in COMMON:
                    judged.agreed[library][case.kind].add(accepts(library, case.token) is case.good)
    return judged


@pytest.fixture(scope="module", params=[(5, 20, 7), pytest.param((20, 16, 5), marks=pytest.mark.slow)], ids=["short", "long"])
def judged(request: pytest.FixtureRequest) -> Judged:
    parts, good, bad = request.param
    return judge(parts=parts, good=good, bad=bad)


def test_at_least_thirty_per_cent_of_a_few_thousand_tokens_are_good(judged: Judged) -> None:
    assert len(judged.cases) > 3000
    assert sum(case.good for case in judged.cases) / len(judged.cases) >= 0.3
    assert {case.kind for case in judged.cases} == set(GOOD) | set(BAD)


def test_podpass_judges_every_token_as_it_was_made(judged: Judged) -> None:
    assert {kind for kind, agreed in judged.agreed["podpass"].items() if agreed != {True}} == set()


@pytest.mark.parametrize("library", DIFFERENCES)
def test_others_agree_but_for_the_differences_in_the_table(judged: Judged, library: str) -> None:
    listed = set().union(*DIFFERENCES[library].values())
    # A listed kind differs for every one of its tokens, another one for none: the table has no stale rows and no rough ones.
    assert {kind for kind, agreed in judged.agreed[library].items() if agreed != {True}} == listed
    assert {kind for kind, agreed in judged.agreed[library].items() if agreed == {False}} == listed


@pytest.mark.parametrize("library", DIFFERENCES)
def test_the_page_tells_every_difference_with_its_reason(library: str) -> None:
    page = PAGE.read_text("utf-8")
    for reason, kinds in DIFFERENCES[library].items():
        assert f"| {library} | {reason} | {'; '.join(sorted(kinds))} |" in page


@pytest.mark.parametrize("count", [1500, pytest.param(10_000, marks=pytest.mark.slow)], ids=["short", "long"])
def test_where_kinds_are_mixed_nothing_is_accepted_that_both_refuse_nor_refused_that_both_accept_but_for_a_reason(count: int) -> None:
    def fresh() -> Iterator[MixedCase]:
        for part in range(count // 100):  # as above
            yield from mixed(20260302 + part, int(datetime.now(UTC).timestamp()), 100)

    listed = [set().union(*DIFFERENCES[library].values()) for library in ("PyJWT", "joserfc")]
    accepted = 0
    for case in fresh():
        ours, pyjwts, joserfcs = (accepts(library, case.token) for library in ("podpass", "PyJWT", "joserfc"))
        accepted += ours
        assert pyjwts or joserfcs or not ours, case.kinds
        assert ours or not (pyjwts and joserfcs) or listed[0] & listed[1] & set(case.kinds), case.kinds
    assert accepted / count >= 0.3
