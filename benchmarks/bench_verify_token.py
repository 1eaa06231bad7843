# SPDX-License-Identifier: Apache-2.0
"""What does it cost to verify a token, beside the bare signature check and beside other libraries, and what to refuse one?

CPU time of this process; every round measures all subjects one after the other, in an order that turns, and the medians of the rounds are
compared: other load on the machine then hits all of them. All checks are on. Prints tables, then one JSON object.

- cold: the whole judgement of a token that was not seen before. Beside it the same without the signature's arithmetic: what the judgement
  takes alone. The rest of the difference to the bare check is each side finding the processor's caches full of the other's code.
- warm: the same token again, through the guard's cache of results: digest, expiry and key generation.
- junk: what is refused without the signature being computed, as a share of a whole judgement.
"""

import gc
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from importlib.metadata import version

import jwt as pyjwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from google.auth import jwt as google_jwt
from joserfc import jwk as joserfc_jwk
from joserfc import jwt as joserfc_jwt

from podpass.discovery.static import StaticKeys
from podpass.errors import TokenError
from podpass.guard.authenticator import Result, TokenAuthenticator
from podpass.names import Audience, Issuer
from podpass.policy import InvokerPolicy, TrustedIssuer
from podpass.verify import KeySet, VerificationKey, Verifier, base64url, parse, public_jwk
from podpass.verify.algorithms import Algorithm
from podpass.verify.cache import ResultCache

ROUNDS = 31
CALLS = 200
BARE = "bare signature check"
ISSUER = "https://oidc.example/cluster-a"
AUDIENCE = "orders-api"
# name: algorithm, and the key's size where it has a choice.
KEYS = {"RS256-2048": ("RS256", 2048), "RS256-4096": ("RS256", 4096), "ES256": ("ES256", 256)}

Subject = Callable[[], object]
GOOGLE_DECODE: Callable[..., object] = google_jwt.decode


def claims(now_s: int) -> dict[str, object]:
    """Return what Kubernetes writes into a projected token; `aud` as a string, since google-auth takes no list."""
    return {
        "aud": AUDIENCE,
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


class Scene:
    """A key, a token that it signed, and everything that is prepared once for them."""

    def __init__(self, name: str) -> None:
        self.algorithm, size = KEYS[name]
        self.private = rsa.generate_private_key(65537, size) if self.algorithm == "RS256" else ec.generate_private_key(ec.SECP256R1())
        self.key = VerificationKey.of(self.private.public_key())
        self.payload = claims(int(time.time()))
        self.token = self.sign(self.key.kid)
        self.verifier = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=KeySet.of([self.key]))

    def sign(self, kid: str, **header: str) -> str:
        """Sign the claims; `kid` and others of the header may be wrong."""
        return pyjwt.encode(self.payload, self.private, algorithm=self.algorithm, headers={"kid": kid, "typ": None, **header})

    def unsigned(self) -> Subject:
        """Prepare everything but the arithmetic of the signature."""
        believed = Algorithm(self.algorithm, self.key.algorithm.unfit, lambda _key, _signature, _signed: None)
        keys = KeySet.of([VerificationKey(self.key.kid, believed, self.key.public_key)])
        verifier = Verifier(issuer=Issuer.parse(ISSUER), audiences=[Audience.parse(AUDIENCE)], keys=keys)
        return lambda: verifier.verify(self.token, now=datetime.now(UTC))

    def guard(self, results: ResultCache[Result] | None) -> Subject:
        """Prepare what a guard does for each request before it looks at its rules."""
        policy = InvokerPolicy("bench", (Audience.parse(AUDIENCE),), (TrustedIssuer("cluster", "kubernetes", Issuer.parse(ISSUER)),))
        keys = StaticKeys(KeySet.of([self.key]))
        authenticator, octets = TokenAuthenticator(policy, {"cluster": keys}, results), self.token.encode()
        return lambda: authenticator.authenticate(octets, now=datetime.now(UTC))

    def subjects(self) -> dict[str, Subject]:
        """Prepare each library for the same token, the same key and the same checks of issuer, audience and lifetime."""
        token, algorithm, kid = self.token, self.algorithm, self.key.kid
        members: dict[str, str | list[str]] = {**public_jwk(self.key.public_key, kid)}
        pyjwt_key, joserfc_key = pyjwt.PyJWK.from_dict(members), joserfc_jwk.import_key(members)
        registry = joserfc_jwt.JWTClaimsRegistry(
            leeway=30, iss={"essential": True, "value": ISSUER}, aud={"essential": True, "value": AUDIENCE}, exp={"essential": True}
        )
        certs = {kid: self.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)}
        return {
            BARE: bare(self.key, token),
            "podpass": lambda: self.verifier.verify(token, now=datetime.now(UTC)),
            "podpass, signature left out": self.unsigned(),
            "podpass guard, cold": self.guard(None),
            "podpass guard, warm": self.guard(ResultCache()),
            "PyJWT": lambda: pyjwt.decode(token, pyjwt_key, algorithms=[algorithm], audience=AUDIENCE, issuer=ISSUER, leeway=30),
            "joserfc": lambda: registry.validate(joserfc_jwt.decode(token, joserfc_key, algorithms=[algorithm]).claims),
            "google-auth": lambda: GOOGLE_DECODE(token, certs=certs, audience=AUDIENCE, clock_skew_in_seconds=30),
        }

    def junk(self) -> dict[str, Subject]:
        """Prepare tokens of up to 1 KiB that no signature check is worth."""
        header, payload, signature = self.token.split(".")
        texts = {
            "unknown kid": self.sign("a-key-that-nobody-knows"),
            "algorithm that nobody accepts": base64url.encode(json.dumps({"alg": "HS256", "kid": self.key.kid}).encode())
            + f".{payload}.{signature}",
            "algorithm of another key": base64url.encode(
                json.dumps({"alg": "ES256" if self.algorithm == "RS256" else "RS256", "kid": self.key.kid}, separators=(",", ":")).encode()
            )
            + f".{payload}.{signature}",
            "1 KiB of letters": "x" * 1024,
            "1 KiB of dots": "." * 1024,
            "three parts outside base64": ".".join(["!" * 340] * 3),
            "three parts of random letters": ".".join(["eyJ" + "x" * 337] * 3),
            "header no JSON": f"{base64url.encode(bytes(range(128, 256)))}.{payload}.{signature}",
            "header of nested lists": base64url.encode(b'{"alg":"ES256","x":' + b"[" * 300 + b"]" * 300 + b"}") + ".e30.AA",
            "payload no JSON": f"{header}.{base64url.encode(bytes(range(128, 256)) * 4)}.{signature}",
            "payload of nested lists": f"{header}." + base64url.encode(b'{"x":' + b"[" * 300 + b"]" * 300 + b"}") + f".{signature}",
            "cut by a character": self.token[:-1],
            "cut in half": self.token[: len(self.token) // 2],
            "padding": self.token + "=",
            "another issuer": pyjwt.encode({**self.payload, "iss": "https://x"}, self.private, self.algorithm, {"kid": self.key.kid}),
        }
        return {name: self.refused(text) for name, text in texts.items()}

    def refused(self, text: str) -> Subject:
        """Prepare one refusal, and make sure that it is one."""

        def refuse() -> bool:
            try:
                self.verifier.verify(text, now=datetime.now(UTC))
            except TokenError:
                return True
            return False

        assert refuse()
        return refuse


Rounds = dict[str, list[float]]


def measure_us(prepared: Mapping[str, Subject]) -> Rounds:
    """Measure all subjects in interleaved rounds; microseconds of CPU time a call."""
    names = list(prepared)
    times: Rounds = {name: [] for name in names}
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
    # A round belongs to one moment of the machine: comparisons are made within rounds, and their median is taken.
    return times


def ratio(times: Rounds, name: str, other: str) -> float:
    """Return how many times the other one is the first, in the median of the rounds."""
    return statistics.median(one / two for one, two in zip(times[name], times[other], strict=True))


def machine() -> dict[str, object]:
    """Say where this was measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    libraries = {name: version(name) for name in ("cryptography", "msgspec", "PyJWT", "joserfc", "google-auth")}
    return {"python": platform.python_version(), "machine": platform.machine(), "cpus": os.cpu_count(), "commit": commit, **libraries}


def report(name: str, times: Rounds, junk: Collection[str]) -> dict[str, object]:
    """Print what was measured, and return it with its ratios."""
    us = {subject: round(statistics.median(values), 2) for subject, values in times.items()}
    shares = {subject: round(ratio(times, subject, "podpass"), 3) for subject in junk}
    print(f"\n{name:34}{'us':>9}{'x bare':>9}{'x podpass':>11}")
    for subject in (subject for subject in times if subject not in shares):
        print(f"  {subject:32}{us[subject]:>9.2f}{ratio(times, subject, BARE):>9.2f}{ratio(times, subject, 'podpass'):>11.2f}")
    for subject, share in shares.items():
        print(f"  refused: {subject:35}{us[subject]:>9.2f} = {share:.3f} of a valid verification")
    ratios = {
        "overhead_us": round(statistics.median(cold - raw for cold, raw in zip(times["podpass"], times[BARE], strict=True)), 2),
        "bare_over_podpass": round(ratio(times, BARE, "podpass"), 3),
        "pyjwt_over_warm": round(ratio(times, "PyJWT", "podpass guard, warm"), 1),
        "worst_junk_share": max(shares.values()),
    }
    print("  " + "  ".join(f"{what} {value}" for what, value in ratios.items()))
    return {"us": us, "junk_shares": shares, "ratios": ratios}


def main() -> None:
    """Measure and print."""
    results = {}
    for name in KEYS:
        scene = Scene(name)
        junk = scene.junk()
        results[name] = report(name, measure_us({**scene.subjects(), **junk}), junk)
    print(
        json.dumps({"benchmark": "verify_token", "unit": "us", "rounds": ROUNDS, "calls": CALLS, "results": results, "machine": machine()})
    )


if __name__ == "__main__":
    main()
