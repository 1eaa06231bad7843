# SPDX-License-Identifier: Apache-2.0
from itertools import permutations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from podpass.errors import ConfigError, KeySetError
from podpass.verify.algorithms import ALGORITHMS, DEFAULT_ALGORITHMS, algorithm_of, rows
from token_forge import ec_signer, rsa_signer
from token_forge import signer as forge

SIGNED = b"header.payload"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_the_table_has_asymmetric_algorithms_only_and_two_are_accepted_unless_told_otherwise() -> None:
    assert list(ALGORITHMS) == ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"]
    assert DEFAULT_ALGORITHMS == ("RS256", "ES256")
    assert list(rows(reversed(ALGORITHMS))) == list(ALGORITHMS)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (["HS256"], "podpass does not verify 'HS256'."),
        ("HS256", "podpass does not verify 'HS256'."),
        (["RS256", "none", "ES256K"], "podpass does not verify 'ES256K', 'none'."),
        ([], "A verifier without an algorithm would refuse every token."),
    ],
)
def test_no_other_algorithm_can_be_asked_for(names: list[str], what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rows(names)
    assert str(caught.value) == (
        f"{what} It has RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA. "
        "A shared secret is never a key here: whoever could verify with it could sign with it. Name algorithms of these."
    )
    assert caught.value.full_code == "config.algorithm"


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_signature_holds_for_what_was_signed_and_nothing_else(name: str) -> None:
    signer = forge(name)
    row = ALGORITHMS[name]
    assert row.unfit(signer.key.public_key()) is None
    signature = signer.sign(SIGNED)
    row.check(signer.key.public_key(), signature, SIGNED)
    flipped = bytes([signature[0] ^ 1]) + signature[1:]
    for bad, signed in [
        (signature, SIGNED + b"x"),
        (flipped, SIGNED),
        (b"", SIGNED),
        (signature + b"\0", SIGNED),
        (b"\0" + signature, SIGNED),
    ]:
        with pytest.raises(InvalidSignature):
            row.check(signer.key.public_key(), bad, signed)


def test_rs256_is_pkcs1_with_sha256_and_nothing_near_it() -> None:
    key = rsa_signer().key
    assert isinstance(key, rsa.RSAPrivateKey)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), padding.PSS.DIGEST_LENGTH)
    for signature in (
        key.sign(SIGNED, padding.PKCS1v15(), hashes.SHA512()),
        key.sign(SIGNED, padding.PKCS1v15(), hashes.SHA1()),
        key.sign(SIGNED, pss, hashes.SHA256()),
    ):
        with pytest.raises(InvalidSignature):
            ALGORITHMS["RS256"].check(key.public_key(), signature, SIGNED)


def test_es256_is_64_raw_bytes_never_der() -> None:
    signer = ec_signer()
    raw = signer.sign(SIGNED)
    r, s = int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
    der = encode_dss_signature(r, s)
    for bad in (der, raw[:63], raw + b"\0", raw[:32] + b"\0" + raw[32:], raw[32:] + raw[:32], b""):
        with pytest.raises(InvalidSignature):
            ALGORITHMS["ES256"].check(signer.key.public_key(), bad, SIGNED)


@pytest.mark.parametrize("name", ["ES256", "ES384"])
def test_numbers_of_every_shape_hold(name: str) -> None:
    """One in 256 begins with a zero, half of them with a bit that would make it negative in DER."""
    signer = forge(name)
    seen = set()
    for number in range(20_000):
        signed = str(number).encode()
        raw = signer.sign(signed)
        shape = tuple("zero" if first == 0 else "high" if first >= 128 else "plain" for first in (raw[0], raw[len(raw) // 2]))
        if shape not in seen:
            ALGORITHMS[name].check(signer.key.public_key(), raw, signed)
            seen.add(shape)
        if {("zero", "high"), ("high", "zero"), ("zero", "plain"), ("high", "high"), ("plain", "plain")} <= seen:
            return
    pytest.fail(f"only {seen}")


@pytest.mark.parametrize(("name", "other"), list(permutations(ALGORITHMS, 2)))
def test_a_signature_by_another_algorithm_does_not_hold(name: str, other: str) -> None:
    # The same key where one key can do both: only the algorithm differs then.
    mine, row = forge(name), ALGORITHMS[other]
    fits = row.unfit(mine.key.public_key()) is None
    public_key = mine.key.public_key() if fits else forge(other).key.public_key()
    with pytest.raises(InvalidSignature):
        row.check(public_key, mine.sign(SIGNED), SIGNED)


@pytest.mark.parametrize("name", ["PS256", "PS384", "PS512"])
def test_a_pss_salt_is_as_long_as_the_digest(name: str) -> None:
    signer = forge(name)
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    digest = {"PS256": hashes.SHA256(), "PS384": hashes.SHA384(), "PS512": hashes.SHA512()}[name]
    for salt_length in (0, 20, digest.digest_size - 1, digest.digest_size + 1, padding.PSS.MAX_LENGTH):
        signature = signer.key.sign(SIGNED, padding.PSS(padding.MGF1(digest), salt_length), digest)
        with pytest.raises(InvalidSignature):
            ALGORITHMS[name].check(signer.key.public_key(), signature, SIGNED)


def test_an_ed25519_signature_with_a_large_s_is_refused() -> None:
    # RFC 8032, 5.1.7: s must be below the order; adding the order would be a second form of the same signature.
    order = 2**252 + 27742317777372353535851937790883648493
    signer = forge("EdDSA")
    raw = signer.sign(SIGNED)
    second = raw[:32] + (int.from_bytes(raw[32:], "little") + order).to_bytes(32, "little")
    for bad in (second, raw[:63], raw + b"\0", bytes(64), b""):
        with pytest.raises(InvalidSignature):
            ALGORITHMS["EdDSA"].check(signer.key.public_key(), bad, SIGNED)


def test_an_rsa_key_with_a_long_exponent_is_refused() -> None:
    numbers = forge("RS256").key.public_key()
    assert isinstance(numbers, rsa.RSAPublicKey)
    modulus = numbers.public_numbers().n
    assert ALGORITHMS["RS256"].unfit(rsa.RSAPublicNumbers(2**31 - 1, modulus).public_key()) is None
    assert ALGORITHMS["PS512"].unfit(rsa.RSAPublicNumbers(2**31 + 1, modulus).public_key()) == "its exponent is over 2147483647"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("PS512", "RS256"), ("RS384", "RS256"), ("ES256", "ES256"), ("ES384", "ES384"), ("ES512", "ES512"), ("EdDSA", "EdDSA")],
)
def test_a_key_that_does_not_say_what_it_is_for_gets_the_first_algorithm_that_fits(name: str, expected: str) -> None:
    assert algorithm_of(forge(name).key.public_key()).name == expected
    assert algorithm_of(forge(name).key.public_key(), [name]).name == name


@pytest.mark.parametrize(("r", "s"), [(0, 0), (0, 1), (1, 0), (P256_ORDER, 1), (1, P256_ORDER), (2**256 - 1, 2**256 - 1)])
def test_es256_refuses_numbers_outside_the_group(r: int, s: int) -> None:
    # The first of these is CVE-2022-21449, "psychic signatures": r and s of zero hold for everything where nobody looks.
    with pytest.raises(InvalidSignature):
        ALGORITHMS["ES256"].check(ec_signer().key.public_key(), r.to_bytes(32, "big") + s.to_bytes(32, "big"), SIGNED)


def test_a_signature_by_another_key_does_not_hold() -> None:
    for signer, other in ((rsa_signer(), rsa_signer("rsa-2")), (ec_signer(), ec_signer("ec-2"))):
        with pytest.raises(InvalidSignature):
            ALGORITHMS[signer.algorithm].check(other.key.public_key(), signer.sign(SIGNED), SIGNED)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (rsa_signer("small", 1024).key.public_key(), "RS256: its modulus has 1024 bits; 2048 to 8192 are accepted"),
        (rsa_signer("nearly", 2047).key.public_key(), "RS256: its modulus has 2047 bits; 2048 to 8192 are accepted"),
        (ec.generate_private_key(ec.SECP384R1()).public_key(), "ES256: it is not a key on the curve secp256r1"),
        (ec.generate_private_key(ec.SECP256K1()).public_key(), "ES256: it is not a key on the curve secp256r1"),
        (ed25519.Ed25519PrivateKey.generate().public_key(), "RS256: it is not an RSA key; ES256: it is not a key on the curve secp256r1"),
        (b"secret", "RS256: it is not an RSA key; ES256: it is not a key on the curve secp256r1"),
    ],
)
def test_a_key_that_fits_no_algorithm_is_refused(key: object, said: str) -> None:
    with pytest.raises(KeySetError) as caught:
        algorithm_of(key, DEFAULT_ALGORITHMS)
    assert said in caught.value.why
    assert caught.value.what == "The key fits none of the algorithms that are accepted."
    assert caught.value.next_step == "Use an RSA key of 2048 bits, or a P-256 key."


def test_a_reason_that_several_algorithms_share_is_told_once() -> None:
    with pytest.raises(KeySetError) as caught:
        algorithm_of(ec.generate_private_key(ec.SECP256K1()).public_key())
    assert caught.value.why == (
        "RS256, RS384, RS512, PS256, PS384, PS512: it is not an RSA key; ES256: it is not a key on the curve secp256r1; "
        "ES384: it is not a key on the curve secp384r1; ES512: it is not a key on the curve secp521r1; EdDSA: it is not an Ed25519 key."
    )


def test_larger_rsa_keys_sign_rs256_as_kubernetes_has_it() -> None:
    assert algorithm_of(rsa_signer("large", 3072).key.public_key()).name == "RS256"
