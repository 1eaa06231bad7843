# SPDX-License-Identifier: Apache-2.0
import base64
import hashlib
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from podpass.errors import BadSignatureError, ConfigError, KeySetError, UnknownKeyError, UnsupportedAlgorithmError
from podpass.verify import KeySet, VerificationKey, parse, public_jwk, thumbprint_kid
from podpass.verify.algorithms import ALGORITHMS
from podpass.verify.jwks import parse_jwk
from token_forge import Signer, b64url, ec_signer, kubernetes_claims, rsa_signer
from token_forge import signer as forge

NO_KIND = "it is neither an RSA key, nor an EC key on P-256, P-384 or P-521, nor an Ed25519 key."


def jwk(signer: Signer, **changed: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    members = {**public_jwk(signer.key.public_key(), signer.kid, signer.algorithm), **changed}
    return {name: value for name, value in members.items() if value is not None}


def rsa_jwk(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return jwk(rsa_signer(), **changed)


def ec_jwk(**changed: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    return jwk(ec_signer(), **changed)


def key_set(*entries: object) -> KeySet:
    return KeySet.parse(json.dumps({"keys": entries}))


def test_keys_are_published_as_kube_apiserver_does() -> None:
    rsa_members, ec_members = rsa_jwk(), ec_jwk()
    assert list(rsa_members) == ["use", "kty", "kid", "alg", "n", "e"]
    assert list(ec_members) == ["use", "kty", "kid", "crv", "alg", "x", "y"]
    assert (rsa_members["kty"], rsa_members["alg"], rsa_members["e"]) == ("RSA", "RS256", "AQAB")
    assert len(rsa_members["n"]) == 342  # 256 bytes: no zero in front
    assert (ec_members["kty"], ec_members["alg"], ec_members["crv"]) == ("EC", "ES256", "P-256")


def test_a_kid_is_the_digest_of_the_key_as_kubernetes_makes_it() -> None:
    public_key = rsa_signer().key.public_key()
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    expected = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).decode().rstrip("=")
    assert thumbprint_kid(public_key) == expected
    assert VerificationKey.of(public_key).kid == expected
    assert VerificationKey.of(public_key, "mine").kid == "mine"


def test_what_is_written_reads_as_the_same_keys() -> None:
    keys = KeySet.of([VerificationKey.of(signer.key.public_key(), signer.kid) for signer in (rsa_signer(), ec_signer())])
    assert KeySet.parse(keys.canonical_json()).keys == keys.keys
    assert KeySet.parse(keys.canonical_json().encode()).keys == keys.keys


def test_the_inlined_form_is_stable_and_has_only_members_that_google_takes() -> None:
    scattered = key_set(rsa_jwk(x5t="AA", extra=1), ec_jwk(use=None, alg=None, key_ops=["verify"]))
    assert scattered.canonical_json() == key_set(ec_jwk(), rsa_jwk()).canonical_json()
    written = json.loads(scattered.canonical_json())["keys"]
    assert [entry["kid"] for entry in written] == ["ec-1", "rsa-1"]
    assert {name for entry in written for name in entry} <= {"kty", "alg", "use", "kid", "n", "e", "x", "y", "crv"}
    assert "\n" not in scattered.canonical_json()
    assert " " not in scattered.canonical_json()


def test_coordinates_with_leading_zeros_keep_their_length() -> None:
    # P-256 points with a short x: multiples of the generator found by counting; 1 in 256 keys has one.
    private = next(
        key for key in (ec.derive_private_key(n, ec.SECP256R1()) for n in range(2, 5000)) if key.public_key().public_numbers().x < 2**248
    )
    members = public_jwk(private.public_key(), "short")
    assert len(members["x"]) == 43
    assert parse_jwk(members).public_key == private.public_key()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        pytest.param([], "it is not a JSON object.", id="list"),
        pytest.param("key", "it is not a JSON object.", id="string"),
        pytest.param(rsa_jwk(kid=None), "it has no `kid` that is a string of 1 to 256 characters.", id="no-kid"),
        pytest.param(rsa_jwk(kid=""), "it has no `kid` that is a string of 1 to 256 characters.", id="empty-kid"),
        pytest.param(rsa_jwk(kid=1), "it has no `kid` that is a string of 1 to 256 characters.", id="kid-number"),
        pytest.param(rsa_jwk(kid="k" * 257), "it has no `kid` that is a string of 1 to 256 characters.", id="long-kid"),
        pytest.param(rsa_jwk(d="AQAB"), "it holds private members: whoever can read this set can sign with it.", id="private-rsa"),
        pytest.param(ec_jwk(d="AQAB"), "it holds private members: whoever can read this set can sign with it.", id="private-ec"),
        pytest.param(
            {"kty": "oct", "kid": "k", "k": "AQAB"}, "it holds private members: whoever can read this set can sign", id="symmetric"
        ),
        pytest.param(rsa_jwk(use="enc"), "its `use` is not sig.", id="for-encryption"),
        pytest.param(rsa_jwk(use=["sig"]), "its `use` is not sig.", id="use-list"),
        pytest.param(rsa_jwk(key_ops=["encrypt"]), "its `key_ops` do not allow verify.", id="key-ops"),
        pytest.param(rsa_jwk(key_ops="verify"), "its `key_ops` do not allow verify.", id="key-ops-string"),
        pytest.param(rsa_jwk(key_ops=[]), "its `key_ops` do not allow verify.", id="key-ops-empty"),
        pytest.param(rsa_jwk(kty="OKP"), NO_KIND, id="okp"),
        pytest.param(rsa_jwk(kty=None, alg=None), NO_KIND, id="no-kty"),
        pytest.param(rsa_jwk(kty=["RSA"]), NO_KIND, id="kty-list"),
        pytest.param(ec_jwk(kty="OKP"), NO_KIND, id="okp-with-a-curve"),
        pytest.param(ec_jwk(crv="P-384"), "its numbers are no key: `x` has 32 bytes, not 48.", id="p-384-by-name"),
        pytest.param(jwk(forge("ES384")), "its alg is not one of RS256, ES256.", id="p-384"),
        pytest.param(jwk(forge("ES384"), alg=None), "ES256: it is not a key on the curve secp256r1.", id="p-384-no-alg"),
        pytest.param(jwk(forge("EdDSA")), "its alg is not one of RS256, ES256.", id="ed25519"),
        pytest.param(jwk(forge("EdDSA"), d="AQAB"), "it holds private members", id="private-ed25519"),
        pytest.param(ec_jwk(crv=["P-256"]), NO_KIND, id="crv-list"),
        pytest.param(ec_jwk(crv="secp256k1"), NO_KIND, id="secp256k1"),
        pytest.param(rsa_jwk(alg="RS512"), "its alg is not one of RS256, ES256.", id="rs512"),
        pytest.param(rsa_jwk(alg="none"), "its alg is not one of RS256, ES256.", id="none"),
        pytest.param(rsa_jwk(alg="HS256"), "its alg is not one of RS256, ES256.", id="hs256"),
        pytest.param(rsa_jwk(alg=["RS256"]), "its alg is not one of RS256, ES256.", id="alg-list"),
        pytest.param(rsa_jwk(alg="ES256"), "its alg is ES256, but it is not a key on the curve secp256r1.", id="rsa-as-es256"),
        pytest.param(ec_jwk(alg="RS256"), "its alg is RS256, but it is not an RSA key.", id="ec-as-rs256"),
        pytest.param(rsa_jwk(n=None), "its numbers are no key: `n` is missing.", id="no-n"),
        pytest.param(rsa_jwk(n=""), "its numbers are no key: `n` is missing.", id="empty-n"),
        pytest.param(rsa_jwk(e=65537), "its numbers are no key: `e` is missing.", id="e-number"),
        pytest.param(rsa_jwk(n="A" * 5), "its numbers are no key: `n` is not base64url.", id="n-length"),
        pytest.param(rsa_jwk(n=rsa_jwk()["n"] + "=="), "its numbers are no key: `n` is not base64url.", id="n-padding"),
        pytest.param(rsa_jwk(n="é" * 4), "its numbers are no key: `n` is not base64url.", id="n-not-ascii"),
        pytest.param(rsa_jwk(e="AQ"), "its numbers are no key: ", id="e-one"),
        pytest.param(rsa_jwk(e="BA"), "its numbers are no key: ", id="e-even"),
        pytest.param(ec_jwk(x=None), "its numbers are no key: `x` is missing.", id="no-x"),
        pytest.param(ec_jwk(x="AQAB"), "its numbers are no key: `x` has 3 bytes, not 32.", id="short-x"),
        pytest.param(ec_jwk(x=b64url(b"\0" + b"\1" * 32)), "its numbers are no key: `x` has 33 bytes, not 32.", id="long-x"),
        pytest.param(ec_jwk(y=b64url(b"\1" * 32)), "its numbers are no key: ", id="not-on-the-curve"),
        pytest.param(ec_jwk(x=b64url(b"\0" * 32), y=b64url(b"\0" * 32)), "its numbers are no key: ", id="infinity"),
        pytest.param(jwk(rsa_signer("kept"), n=b64url(b"\xff" * 128)), "its alg is RS256, but its modulus has 1024 bits", id="small"),
        pytest.param(jwk(rsa_signer("kept"), n=b64url(b"\xff" * 128), alg=None), "RS256: its modulus has 1024 bits", id="small-no-alg"),
        pytest.param(jwk(rsa_signer("kept"), n=b64url(b"\xff" * 1025)), "its modulus has 8200 bits; 2048 to 8192 are accepted", id="huge"),
    ],
)
def test_a_key_that_cannot_be_used_is_skipped_with_the_reason(entry: object, why: str) -> None:
    keys = key_set(entry, jwk(ec_signer("good")))
    assert list(keys.keys) == ["good"]
    (skipped,) = keys.skipped
    assert why in skipped.why
    assert "AQAB" not in str(skipped)


def test_the_longest_rsa_key_is_read() -> None:
    assert key_set(jwk(rsa_signer("kept"), n=b64url(b"\xff" * 1024))).find("kept").algorithm.name == "RS256"


def test_the_longest_kid_is_read() -> None:
    assert key_set(ec_jwk(kid="k" * 256)).find("k" * 256).kid == "k" * 256


def test_a_kid_twice_leaves_the_first_key_in_place() -> None:
    keys = key_set(jwk(ec_signer("a"), kid="same"), jwk(ec_signer("b"), kid="same"))
    assert keys.find("same").public_key == ec_signer("a").key.public_key()
    assert [str(entry) for entry in keys.skipped] == ["'same': an earlier key has the same kid."]


def test_a_skipped_key_without_kid_is_called_so() -> None:
    keys = key_set(ec_jwk(kid=None), ec_jwk())
    assert str(keys.skipped[0]) == "a key without kid: it has no `kid` that is a string of 1 to 256 characters."


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        pytest.param("", "The reason: it is not JSON.", id="empty"),
        pytest.param("<html>", "The reason: it is not JSON.", id="a-web-page"),
        pytest.param(b"\xff", "The reason: it is not JSON.", id="binary"),
        pytest.param("\ud800", "The reason: it is not JSON.", id="surrogate"),
        pytest.param("[]", "The reason: it is not a JSON object.", id="list"),
        pytest.param('{"keys":[],"keys":[]}', "The reason: one of its JSON objects has a member twice.", id="twice"),
        pytest.param("{}", "It has no list `keys`.", id="no-keys"),
        pytest.param('{"keys":{}}', "It has no list `keys`.", id="keys-object"),
        pytest.param("x" * (1024 * 1024 + 1), "It has 1048577 bytes; podpass reads 1048576 at most.", id="too-large"),
    ],
)
def test_what_is_no_key_set_is_refused(raw: str | bytes, why: str) -> None:
    with pytest.raises(KeySetError) as caught:
        KeySet.parse(raw)
    assert str(caught.value) == (f"The JWKS cannot be read. {why} Publish the cluster's own document: `kubectl get --raw /openid/v1/jwks`.")
    assert caught.value.full_code == "keys.unusable"


def test_a_set_without_a_usable_key_is_refused_and_says_why() -> None:
    cure = "Publish an RSA key of 2048 bits or more, or a P-256 key, with its kid."
    with pytest.raises(KeySetError) as caught:
        key_set()
    assert str(caught.value) == f"The JWKS has no key that podpass can use. The list `keys` is empty. {cure}"
    with pytest.raises(KeySetError) as caught:
        key_set(ec_jwk(crv="P-384"), rsa_jwk(use="enc"))
    assert str(caught.value) == (
        "The JWKS has no key that podpass can use. 'ec-1': its numbers are no key: `x` has 32 bytes, not 48. "
        f"'rsa-1': its `use` is not sig. {cure}"
    )


def test_an_unknown_kid_is_refused() -> None:
    for keys, count in ((key_set(ec_jwk()), "1 key"), (key_set(ec_jwk(), rsa_jwk()), "2 keys")):
        with pytest.raises(UnknownKeyError) as caught:
            keys.find("b7c1")
        assert str(caught.value) == (
            f"No key with kid 'b7c1' is known of the issuer ({count}). "
            "The cluster has another signing key than the published one, or the token comes from another cluster. "
            "Publish the cluster's present keys; `podpass doctor` compares the two."
        )
        assert caught.value.full_code == "token.unknown-key"


def test_a_token_without_kid_gets_the_only_key_and_none_of_several() -> None:
    assert key_set(ec_jwk()).find(None).kid == "ec-1"
    with pytest.raises(UnknownKeyError) as caught:
        key_set(ec_jwk(), rsa_jwk()).find(None)
    assert str(caught.value) == (
        "The token does not name its key. It has no `kid`, and its issuer has 2 keys; trying them all would let a token choose. "
        "Have the issuer write `kid` into the header, as Kubernetes does."
    )


def test_a_key_checks_a_token_that_it_signed() -> None:
    for signer in (rsa_signer(), ec_signer()):
        VerificationKey.of(signer.key.public_key(), signer.kid).check(parse(signer.token()))


def test_a_key_refuses_another_algorithm_before_it_looks_at_the_signature() -> None:
    signer = rsa_signer()
    key = VerificationKey.of(signer.key.public_key(), signer.kid)
    for algorithm in ("ES256", "RS512", "HS256", "none", "rs256", "RS256 "):
        with pytest.raises(UnsupportedAlgorithmError) as caught:
            key.check(parse(signer.token(header={"alg": algorithm})))
        assert str(caught.value) == (
            f"The token says it is signed by {algorithm!r}, but its key 'rsa-1' is for RS256. "
            "The algorithm belongs to the key; a token cannot choose it. "
            "Get a new token from the issuer. If all its tokens say so, its published keys are wrong."
        )
        assert caught.value.full_code == "token.unsupported-algorithm"


def test_a_key_refuses_a_signature_that_is_not_its_own() -> None:
    token = parse(ec_signer("other").token(kubernetes_claims(), {"alg": "ES256", "kid": "ec-1"}))
    with pytest.raises(BadSignatureError) as caught:
        VerificationKey.of(ec_signer().key.public_key(), "ec-1").check(token)
    assert str(caught.value) == (
        "The signature is not one of key 'ec-1' over this token. "
        "The token was changed after it was signed, or another key with the same id signed it. "
        "Compare the issuer's published keys with those of the cluster: `kubectl get --raw /openid/v1/jwks`."
    )
    assert caught.value.full_code == "token.bad-signature"


def test_the_largest_set_is_read_and_five_reasons_are_enough() -> None:
    text = json.dumps({"keys": [ec_jwk()]})
    assert KeySet.parse(text + " " * (1024 * 1024 - len(text))).find("ec-1").kid == "ec-1"
    with pytest.raises(KeySetError) as caught:
        key_set(*[{"kid": f"k{number}", "kty": "OKP"} for number in range(9)])
    assert caught.value.why.count(NO_KIND) == 5


def test_a_set_of_more_than_a_hundred_keys_is_refused() -> None:
    entries = [ec_jwk(kid=f"k{number}") for number in range(101)]
    assert len(key_set(*entries[:100]).keys) == 100
    with pytest.raises(KeySetError, match="It has 101 keys; podpass reads 100 at most"):
        key_set(*entries)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_keys_of_every_algorithm_are_read_where_they_are_wanted_and_written_as_they_were(name: str) -> None:
    signer = forge(name)
    entry = jwk(signer)
    assert entry["alg"] == name
    keys = KeySet.parse(json.dumps({"keys": [entry]}), algorithms=ALGORITHMS)
    assert keys.find(signer.kid) == VerificationKey.of(signer.key.public_key(), signer.kid, name)
    assert json.loads(keys.canonical_json()) == {"keys": [entry]}
    assert KeySet.parse(json.dumps({"keys": [jwk(signer, alg=None)]}), algorithms=[name]).find(signer.kid).algorithm.name == name


def test_a_key_for_another_algorithm_than_the_wanted_ones_is_skipped() -> None:
    entries = [jwk(forge(name)) for name in ALGORITHMS]
    keys = KeySet.parse(json.dumps({"keys": entries}), algorithms=["PS384", "EdDSA"])
    assert {key.algorithm.name for key in keys.keys.values()} == {"PS384", "EdDSA"}
    assert len(keys.skipped) == 8
    with pytest.raises(ConfigError):
        KeySet.parse('{"keys":[{}]}', algorithms=["HS256"])


def test_a_key_is_not_taken_for_an_algorithm_that_it_does_not_fit() -> None:
    with pytest.raises(KeySetError, match="ES256: it is not a key on the curve secp256r1"):
        VerificationKey.of(rsa_signer().key.public_key(), "k", "ES256")
    with pytest.raises(ConfigError):
        VerificationKey.of(rsa_signer().key.public_key(), "k", "HS256")
