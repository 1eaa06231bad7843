# SPDX-License-Identifier: Apache-2.0
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from podpass.errors import KeySetError
from podpass.verify.algorithms import ALGORITHMS, algorithm_of
from token_forge import ec_signer, rsa_signer

SIGNED = b"header.payload"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def test_the_table_has_the_two_algorithms_of_kubernetes_and_google() -> None:
    assert list(ALGORITHMS) == ["RS256", "ES256"]


@pytest.mark.parametrize("signer", [rsa_signer(), ec_signer()], ids=["RS256", "ES256"])
def test_a_signature_holds_for_what_was_signed_and_nothing_else(signer) -> None:  # type: ignore[no-untyped-def] # noqa: ANN001
    row = algorithm_of(signer.key.public_key())
    assert row.name == signer.algorithm
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
        algorithm_of(key)
    assert said in caught.value.why
    assert caught.value.what == "The key fits none of the algorithms that podpass verifies."
    assert caught.value.next_step == "Use an RSA key of 2048 bits, or a P-256 key."


def test_larger_rsa_keys_sign_rs256_as_kubernetes_has_it() -> None:
    assert algorithm_of(rsa_signer("large", 3072).key.public_key()).name == "RS256"
