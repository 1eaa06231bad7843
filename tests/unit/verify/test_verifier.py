# SPDX-License-Identifier: Apache-2.0
import copy
import hmac
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from podpass.errors import (
    BadSignatureError,
    ConfigError,
    MalformedTokenError,
    TokenError,
    TokenExpiredError,
    TokenNotYetValidError,
    UnknownKeyError,
    UnsupportedAlgorithmError,
    WrongAudienceError,
    WrongIssuerError,
    WrongTokenTypeError,
)
from podpass.names import Audience, Issuer
from podpass.verify import KeySet, VerificationKey, VerifiedToken, Verifier
from podpass.verify.algorithms import ALGORITHMS
from token_forge import AUDIENCE, ISSUER, NOW, NOW_S, SUBJECT, Signer, b64url, compact_json, ec_signer, kubernetes_claims, rsa_signer
from token_forge import signer as forge

SIGNERS = (rsa_signer(), ec_signer())
KEYS = KeySet.of([VerificationKey.of(signer.key.public_key(), signer.kid) for signer in SIGNERS])
VERIFIER = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE), Audience.parse("https://orders.example")], keys=KEYS)

ES_HEADER = {"alg": "ES256", "kid": "ec-1"}


def forged(**changed: Any) -> str:  # noqa: ANN401 - any JSON
    return ec_signer().token(kubernetes_claims(**changed))


def headed(**header: Any) -> str:  # noqa: ANN401 - any JSON
    return ec_signer().token(header={**ES_HEADER, **header})


def resigned(signer: Signer, **header: Any) -> str:  # noqa: ANN401 - any JSON
    return signer.token(header={**ES_HEADER, **header})


def flipped(token: str) -> str:
    head, _, tail = token.rpartition(".")
    return f"{head}.{'B' if tail[0] == 'A' else 'A'}{tail[1:]}"


def with_payload(token: str, **changed: Any) -> str:  # noqa: ANN401 - any JSON
    header, _, signature = token.split(".")
    return f"{header}.{b64url(compact_json(kubernetes_claims(**changed)))}.{signature}"


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.algorithm)
def test_a_good_token_is_accepted(signer: Signer) -> None:
    verified = VERIFIER.verify(signer.token(), now=NOW)
    assert (verified.issuer, verified.subject, verified.audience, verified.kid) == (ISSUER, SUBJECT, AUDIENCE, signer.kid)
    assert verified.audiences == (AUDIENCE,)
    assert verified.expires_at == datetime.fromtimestamp(NOW_S + 3600, UTC)
    assert verified.claims == kubernetes_claims()


@pytest.mark.parametrize("kind", ["JWT", "jwt", "Jwt", "application/jwt", "application/JWT"])
def test_the_type_jwt_is_accepted_in_every_spelling(kind: str) -> None:
    assert VERIFIER.verify(headed(typ=kind), now=NOW).subject == SUBJECT


# One fault each: everything else about the token is right.
FAULTS = [
    pytest.param(forged() + ".", MalformedTokenError, id="a-fourth-part"),
    pytest.param(headed(crit=["exp"]), MalformedTokenError, id="crit"),
    pytest.param(headed(b64=False), MalformedTokenError, id="b64"),
    pytest.param(headed(jwk={"kty": "EC"}), MalformedTokenError, id="jwk"),
    pytest.param(headed(jku="https://attacker.example/keys"), MalformedTokenError, id="jku"),
    pytest.param(headed(x5u="https://attacker.example/chain"), MalformedTokenError, id="x5u"),
    pytest.param(headed(x5c=["AA"]), MalformedTokenError, id="x5c"),
    pytest.param(
        ec_signer().raw_token(compact_json(ES_HEADER), compact_json(kubernetes_claims())[:-1] + b',"sub":"admin"}'),
        MalformedTokenError,
        id="sub-twice",
    ),
    pytest.param(headed(alg="none"), UnsupportedAlgorithmError, id="alg-none"),
    pytest.param(headed(alg="None"), UnsupportedAlgorithmError, id="alg-None"),
    pytest.param(headed(alg="HS256"), UnsupportedAlgorithmError, id="alg-hs256"),
    pytest.param(headed(alg="ES512"), UnsupportedAlgorithmError, id="alg-es512"),
    pytest.param(headed(alg="RS256"), UnsupportedAlgorithmError, id="alg-of-another-key"),
    pytest.param(headed(typ="logout+jwt"), WrongTokenTypeError, id="a-logout-token"),
    pytest.param(headed(typ="at+jwt"), WrongTokenTypeError, id="an-access-token"),
    pytest.param(headed(typ=""), WrongTokenTypeError, id="an-empty-type"),
    pytest.param(forged(iss="https://oidc.example/cluster-b"), WrongIssuerError, id="another-issuer"),
    pytest.param(forged(iss=ISSUER + "/"), WrongIssuerError, id="issuer-with-a-slash"),
    pytest.param(forged(iss=None), MalformedTokenError, id="no-issuer"),
    pytest.param(resigned(ec_signer(), kid="ec-9"), UnknownKeyError, id="unknown-kid"),
    pytest.param(ec_signer().token(header={"alg": "ES256"}), UnknownKeyError, id="no-kid-and-several-keys"),
    pytest.param(resigned(ec_signer("ec-2")), BadSignatureError, id="signed-by-another-key"),
    pytest.param(flipped(forged()), BadSignatureError, id="a-bit-of-the-signature"),
    pytest.param(with_payload(forged(), sub="system:serviceaccount:kube-system:admin"), BadSignatureError, id="another-payload"),
    pytest.param(forged().rpartition(".")[0] + ".", BadSignatureError, id="no-signature"),
    pytest.param(forged(exp=NOW_S - 30), TokenExpiredError, id="expired"),
    pytest.param(forged(exp=None), MalformedTokenError, id="no-exp"),
    pytest.param(forged(exp=str(NOW_S + 3600)), MalformedTokenError, id="exp-a-string"),
    pytest.param(forged(exp=True), MalformedTokenError, id="exp-a-bool"),
    pytest.param(forged(nbf=NOW_S + 31), TokenNotYetValidError, id="not-yet-valid"),
    pytest.param(forged(nbf="0"), MalformedTokenError, id="nbf-a-string"),
    pytest.param(forged(iat=NOW_S + 31), TokenNotYetValidError, id="from-the-future"),
    pytest.param(forged(iat=[NOW_S]), MalformedTokenError, id="iat-a-list"),
    pytest.param(forged(aud="https://kubernetes.default.svc"), WrongAudienceError, id="another-audience"),
    pytest.param(forged(aud=[]), WrongAudienceError, id="an-empty-audience"),
    pytest.param(forged(aud=None), MalformedTokenError, id="no-audience"),
    pytest.param(forged(aud=[AUDIENCE, 7]), MalformedTokenError, id="an-audience-a-number"),
    pytest.param(forged(sub=None), MalformedTokenError, id="no-subject"),
    pytest.param(forged(sub=""), MalformedTokenError, id="an-empty-subject"),
    pytest.param(forged(sub=7), MalformedTokenError, id="a-subject-a-number"),
]


@pytest.mark.parametrize(("token", "error"), FAULTS)
def test_a_token_with_one_fault_is_refused_for_that_fault(token: str, error: type[TokenError]) -> None:
    with pytest.raises(TokenError) as caught:
        VERIFIER.verify(token, now=NOW)
    assert type(caught.value) is error
    assert not any(part in str(caught.value) for part in token.split(".") if part)


@given(st.integers(0, 10**6), st.integers(1, 127))
def test_no_other_text_than_the_signed_one_is_accepted(position: int, change: int) -> None:
    token = forged().encode()
    at = position % len(token)
    changed = token[:at] + bytes([token[at] ^ change]) + token[at + 1 :]
    with pytest.raises(TokenError):
        VERIFIER.verify(changed, now=NOW)


@given(st.binary(max_size=200) | st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,40}\.[A-Za-z0-9_-]{0,90}"))
def test_any_text_is_refused_by_a_token_error_and_nothing_else(text: str | bytes) -> None:
    with pytest.raises(TokenError):
        VERIFIER.verify(text, now=NOW)


def test_the_only_key_serves_tokens_without_kid() -> None:
    alone = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=KeySet.of([KEYS.find("ec-1")]))
    assert alone.verify(ec_signer().token(header={"alg": "ES256"}), now=NOW).kid == "ec-1"


def test_a_public_key_is_no_shared_secret() -> None:
    pem = rsa_signer().key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    header = b64url(compact_json({"alg": "HS256", "kid": "rsa-1"}))
    signing_input = f"{header}.{b64url(compact_json(kubernetes_claims()))}"
    token = f"{signing_input}.{b64url(hmac.digest(pem, signing_input.encode(), 'sha256'))}"
    with pytest.raises(UnsupportedAlgorithmError):
        VERIFIER.verify(token, now=NOW)


class CountingKeys:
    def __init__(self) -> None:
        self.asked: list[str | None] = []

    def find(self, kid: str | None) -> VerificationKey:
        self.asked.append(kid)
        return KEYS.find(kid)


def test_a_token_that_mentions_the_issuer_elsewhere_is_another_issuers() -> None:
    for other in ("https://oidc.example/cluster-b", None):
        with pytest.raises((WrongIssuerError, MalformedTokenError), match=r"issuer|`iss` claim is missing"):
            VERIFIER.verify(forged(iss=other, act={"iss": ISSUER}), now=NOW)


def test_the_issuer_may_be_spelled_with_escapes_and_white_space() -> None:
    spelled = (
        compact_json(kubernetes_claims()).replace(ISSUER.encode(), ISSUER.replace("/", "\\/").encode()).replace(b'"iss":', b'"iss" : ')
    )
    assert VERIFIER.verify(ec_signer().raw_token(compact_json(ES_HEADER), spelled), now=NOW).issuer == ISSUER


def test_no_key_is_looked_for_on_behalf_of_junk_or_of_another_issuer() -> None:
    keys = CountingKeys()
    verifier = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=keys)
    for token in ("junk", headed(alg="none"), headed(typ="logout+jwt"), forged(iss="https://attacker.example")):
        with pytest.raises(TokenError):
            verifier.verify(token, now=NOW)
    assert keys.asked == []
    verifier.verify(forged(), now=NOW)
    assert keys.asked == ["ec-1"]


def test_claims_are_not_judged_before_the_signature() -> None:
    with pytest.raises(BadSignatureError):
        VERIFIER.verify(flipped(forged(exp=0, aud="nobody", sub="")), now=NOW)


def test_the_skew_is_30_seconds_unless_told_otherwise() -> None:
    token = forged(exp=NOW_S - 29)
    assert VERIFIER.verify(token, now=NOW).subject == SUBJECT
    strict = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=KEYS, skew=timedelta(0))
    with pytest.raises(TokenExpiredError):
        strict.verify(token, now=NOW)


def test_a_verifier_without_audience_cannot_be_made() -> None:
    with pytest.raises(ConfigError) as caught:
        Verifier(issuer=Issuer.parse(ISSUER), audiences=[], keys=KEYS)
    assert str(caught.value) == (
        "A verifier without an audience would accept tokens that are meant for others. Name the audience of this service, such as its URL."
    )
    assert caught.value.full_code == "config.audience"


def test_a_verifier_with_a_long_skew_cannot_be_made() -> None:
    with pytest.raises(ConfigError, match="A clock skew of 301 s is not accepted"):
        Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=KEYS, skew=timedelta(seconds=301))


def test_message_of_an_algorithm_that_nobody_has() -> None:
    with pytest.raises(UnsupportedAlgorithmError) as caught:
        VERIFIER.verify(headed(alg="PS256"), now=NOW)
    assert str(caught.value) == (
        "The token is signed by 'PS256'. RS256 and ES256 are accepted. Have the cluster sign with an RSA or a P-256 key."
    )


def test_message_of_another_type() -> None:
    with pytest.raises(WrongTokenTypeError) as caught:
        VERIFIER.verify(headed(typ="logout+jwt"), now=NOW)
    assert str(caught.value) == (
        "The token is of type 'logout+jwt', not a JWT that names a caller. "
        "Issuers sign other things with the same key, such as logout tokens. Send the service account token."
    )
    assert caught.value.full_code == "token.wrong-type"


def test_a_verified_token_is_made_by_the_verifier_alone() -> None:
    with pytest.raises(TypeError, match=r"made by Verifier\.verify alone"):
        VerifiedToken()


def test_a_verified_token_does_not_change() -> None:
    verified = VERIFIER.verify(forged(), now=NOW)
    with pytest.raises(AttributeError, match="does not change: audience"):
        verified.audience = "another"
    with pytest.raises(AttributeError, match="does not change: kid"):
        del verified.kid
    with pytest.raises(AttributeError):
        verified.subject = "admin"  # type: ignore[misc] # that is the attempt
    verified.claims["sub"] = "admin"
    verified.claims["kubernetes.io"]["namespace"] = "kube-system"
    assert verified.claims == kubernetes_claims()


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_verified_token_is_not_duplicated(duplicate: Any) -> None:  # noqa: ANN401 - three functions of the standard library
    with pytest.raises(TypeError, match="is not pickled"):
        duplicate(VERIFIER.verify(forged(), now=NOW))


def test_a_verified_token_shows_whom_it_names_and_no_token() -> None:
    assert repr(VERIFIER.verify(forged(), now=NOW)) == f"<verified token of '{SUBJECT}' for '{AUDIENCE}', issuer '{ISSUER}'>"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_accepted_where_it_was_asked_for_and_only_there(name: str) -> None:
    signer = forge(name)
    keys = KeySet.of([VerificationKey.of(signer.key.public_key(), signer.kid, name)])
    settings: dict[str, Any] = {"issuer": Issuer.parse(ISSUER), "audiences": [Audience.parse(AUDIENCE)], "keys": keys}
    assert Verifier(**settings, algorithms=[name]).verify(signer.token(), now=NOW).kid == signer.kid
    others = [other for other in ALGORITHMS if other != name]
    with pytest.raises(UnsupportedAlgorithmError, match=f"signed by '{name}'"):
        Verifier(**settings, algorithms=others).verify(signer.token(), now=NOW)
    for other in others:
        token = signer.token(header={"alg": other, "kid": signer.kid})
        with pytest.raises(UnsupportedAlgorithmError, match=f"is for {name}"):
            Verifier(**settings, algorithms=ALGORITHMS).verify(token, now=NOW)


def test_an_algorithm_that_nobody_has_cannot_be_asked_for() -> None:
    for names in (["HS256"], ["none"], []):
        with pytest.raises(ConfigError):
            Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=KEYS, algorithms=names)


def test_a_payload_with_two_meanings_is_refused_though_it_is_signed() -> None:
    twice = ec_signer().raw_token(compact_json(ES_HEADER), compact_json(kubernetes_claims())[:-1] + b',"sub":"admin"}')
    with pytest.raises(MalformedTokenError, match="a member twice"):
        VERIFIER.verify(twice, now=NOW)


def test_a_header_that_was_read_before_opens_no_door_for_another_token() -> None:
    good = forged()
    header, payload, signature = good.split(".")
    VERIFIER.verify(good, now=NOW)
    for bad, error in (
        (f"{header}.{payload}.", BadSignatureError),
        (f"{header}.{b64url(b'[]')}.{signature}", MalformedTokenError),
        (f"{header}.{b64url(compact_json(kubernetes_claims(sub='x')))}.{signature}", BadSignatureError),
    ):
        with pytest.raises(error):
            VERIFIER.verify(bad, now=NOW)
    # Nor does its key: the same header with other keys behind it is another judgement.
    elsewhere = KeySet.of([VerificationKey.of(rsa_signer().key.public_key(), "ec-1")])
    with pytest.raises(UnsupportedAlgorithmError):
        Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=elsewhere).verify(good, now=NOW)
    VERIFIER.verify(good, now=NOW)
