# SPDX-License-Identifier: Apache-2.0
"""What does it cost to verify a token, beside the bare signature check and beside other libraries?

CPU time of this process; every round measures all subjects one after the other, in an order that turns, and the medians of the rounds are
compared: other load on the machine then hits all of them. Prints a table, then one JSON object.
"""

import gc
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

from podpass.names import Audience, Issuer
from podpass.verify import KeySet, VerificationKey, Verifier, parse, public_jwk

ROUNDS = 41
CALLS = 200
ISSUER = "https://oidc.example/cluster-a"
AUDIENCE = "orders-api"

Subject = Callable[[], object]


def claims(now_s: int) -> dict[str, object]:
    """Return what Kubernetes writes into a projected token."""
    return {
        "aud": [AUDIENCE],
        "exp": now_s + 3600,
        "iat": now_s,
        "iss": ISSUER,
        "jti": "0a6f3f5e-5c3c-4c56-9d3b-0f8f8d1d8f11",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-1", "uid": "b1f3cf0e-6a62-4c3f-8ae4-6b1b4c9d3f01"},
            "pod": {"name": "checkout-6f7c", "uid": "9d0c1f65-1f2e-4a2c-93c3-35c6c5d0a002"},
            "serviceaccount": {"name": "checkout", "uid": "5a1b9f3d-52a4-4a62-a1cf-1f0f31c0b003"},
        },
        "nbf": now_s,
        "sub": "system:serviceaccount:shop:checkout",
    }


def bare(key: VerificationKey, token: str) -> Subject:
    """Prepare the signature check alone, everything taken apart beforehand."""
    parsed = parse(token)
    public_key = key.public_key
    if isinstance(public_key, rsa.RSAPublicKey):
        scheme, digest = padding.PKCS1v15(), hashes.SHA256()
        return lambda: public_key.verify(parsed.signature, parsed.signing_input, scheme, digest)
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    half = len(parsed.signature) // 2
    der = encode_dss_signature(int.from_bytes(parsed.signature[:half]), int.from_bytes(parsed.signature[half:]))
    ecdsa = ec.ECDSA(hashes.SHA256())
    return lambda: public_key.verify(der, parsed.signing_input, ecdsa)


def subjects(algorithm: str) -> dict[str, Subject]:
    """Prepare each library for the same token, the same key and the same checks of issuer, audience and lifetime."""
    now = datetime.now(UTC)
    payload = claims(int(now.timestamp()))
    private = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048) if algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
    )
    key = VerificationKey.of(private.public_key())
    token = pyjwt.encode(payload, private, algorithm=algorithm, headers={"kid": key.kid, "typ": None})
    verifier = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=KeySet.of([key]))
    pyjwt_key = pyjwt.PyJWK.from_dict(public_jwk(key.public_key, key.kid))
    members: dict[str, str | list[str]] = {**public_jwk(key.public_key, key.kid)}
    joserfc_key = joserfc_jwk.import_key(members)
    registry = joserfc_jwt.JWTClaimsRegistry(
        leeway=60, iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True}
    )
    return {
        "bare signature check": bare(key, token),
        "podpass": lambda: verifier.verify(token, now=datetime.now(UTC)),
        "PyJWT": lambda: pyjwt.decode(token, pyjwt_key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER, leeway=60),
        "joserfc": lambda: registry.validate(joserfc_jwt.decode(token, joserfc_key, algorithms=[algorithm]).claims),
    }


def medians_us(prepared: dict[str, Subject]) -> dict[str, float]:
    """Measure all subjects in interleaved rounds; microseconds of CPU time a call."""
    names = list(prepared)
    times: dict[str, list[float]] = {name: [] for name in names}
    gc.disable()
    for number in range(ROUNDS):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            call = prepared[name]
            started = time.process_time_ns()
            for _ in range(CALLS):
                call()
            times[name].append((time.process_time_ns() - started) / CALLS / 1000)
    gc.enable()
    return {name: statistics.median(values) for name, values in times.items()}


def machine() -> dict[str, object]:
    """Say where this was measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    libraries = {name: version(name) for name in ("cryptography", "msgspec", "PyJWT", "joserfc")}
    return {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(), "commit": commit, **libraries}


def main() -> None:
    """Measure and print."""
    results = {}
    print(f"{'':8}{'':24}{'us':>8}{'x bare':>10}{'x podpass':>12}")
    for algorithm in ("RS256", "ES256"):
        measured = medians_us(subjects(algorithm))
        results[algorithm] = {name: round(value, 2) for name, value in measured.items()}
        for name, value in measured.items():
            ratios = f"{value / measured['bare signature check']:>10.2f}{value / measured['podpass']:>12.2f}"
            print(f"{algorithm:8}{name:24}{value:>8.1f}{ratios}")
    print(
        json.dumps({"benchmark": "verify_token", "unit": "us", "rounds": ROUNDS, "calls": CALLS, "results": results, "machine": machine()})
    )


if __name__ == "__main__":
    main()
