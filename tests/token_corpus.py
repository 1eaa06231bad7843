# SPDX-License-Identifier: Apache-2.0
"""A generated corpus of good and bad tokens: every kind by its own recipe, the same for the same seed but for keys and ECDSA's randomness.

A kind is one property, or one fault, of a token; everything else about it is drawn at random from what Kubernetes and other issuers write.
`mixed` puts several of them into one token.
"""

import hmac
import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from token_forge import AUDIENCE, ISSUER, Signer, b64url, compact_json, kubernetes_claims, signer

# The two that everybody knows make half of the tokens.
COMMON = ("RS256", "ES256")
OTHERS = ("RS384", "RS512", "PS256", "PS384", "PS512", "ES384", "ES512", "EdDSA")
SIGNERS = {name: signer(name, f"corpus-{name}") for name in COMMON + OTHERS}
_FAMILY = {"R": "RS256", "P": "RS256", "E": "ES256"}
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True)
class Case:
    """One token of the corpus."""

    kind: str
    token: str
    good: bool
    algorithm: str


@dataclass(frozen=True)
class MixedCase:
    """A token of several kinds at once. Nobody says whether it is good."""

    kinds: tuple[str, ...]
    token: str


class Draft:
    """A good token that a recipe bends before it is signed."""

    def __init__(self, random: Random, now_s: int, algorithms: tuple[str, ...] = COMMON * 4 + OTHERS) -> None:
        self.random = random
        self.now_s = now_s
        self.signer: Signer = SIGNERS[random.choice(algorithms)]
        issued_s = now_s - random.randrange(3000)
        self.header: dict[str, Any] = {"alg": self.signer.algorithm, "kid": self.signer.kid}
        self.claims: dict[str, Any] = kubernetes_claims(
            aud=AUDIENCE,
            iat=issued_s,
            nbf=issued_s,
            exp=now_s + random.randrange(600, 86400),
            sub=f"system:serviceaccount:ns-{random.randrange(50)}:app-{random.randrange(50)}",
            jti=f"{random.getrandbits(128):032x}",
        )

    def sign(self) -> str:
        return self.signer.token(self.claims, self.header)

    def sign_raw(self, *, header: bytes | None = None, payload: bytes | None = None) -> str:
        return self.signer.raw_token(
            compact_json(self.header) if header is None else header, compact_json(self.claims) if payload is None else payload
        )


Recipe = Callable[[Draft], str]


def _header(**members: Any) -> Recipe:  # noqa: ANN401 - any JSON
    def recipe(draft: Draft) -> str:
        draft.header.update(members)
        return draft.sign()

    return recipe


def _claims(**members: Any) -> Recipe:  # noqa: ANN401 - any JSON
    def recipe(draft: Draft) -> str:
        draft.claims.update(members)
        return draft.sign()

    return recipe


def _shifted(name: str, low: int, high: int) -> Recipe:
    def recipe(draft: Draft) -> str:
        draft.claims[name] = draft.now_s + draft.random.randrange(low, high)
        return draft.sign()

    return recipe


def _without(name: str) -> Recipe:
    def recipe(draft: Draft) -> str:
        del draft.claims[name]
        return draft.sign()

    return recipe


def _spelled(change: Callable[[Any], Any], name: str) -> Recipe:
    def recipe(draft: Draft) -> str:
        draft.claims[name] = change(draft.claims[name])
        return draft.sign()

    return recipe


def _text(change: Callable[[str, Random], str]) -> Recipe:
    """Bend the text of a token that is good and signed."""

    def recipe(draft: Draft) -> str:
        return change(draft.sign(), draft.random)

    return recipe


def _payload(change: Callable[[bytes], bytes]) -> Recipe:
    """Bend the JSON text of the payload before it is signed."""

    def recipe(draft: Draft) -> str:
        return draft.sign_raw(payload=change(compact_json(draft.claims)))

    return recipe


def _other_key(draft: Draft) -> str:
    name = draft.signer.algorithm
    kind = _FAMILY[name[0]] if name[0] in "RP" else name
    return Signer(draft.signer.kid, signer(kind, f"corpus-stranger-{kind}").key, name).token(draft.claims, draft.header)


def _swap_algorithm(draft: Draft) -> str:
    others = COMMON if draft.signer.algorithm in COMMON else tuple(SIGNERS)
    draft.header["alg"] = draft.random.choice([name for name in others if name != draft.signer.algorithm])
    return draft.sign()


def _shared_secret(draft: Draft) -> str:
    pem = draft.signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    signing_input = f"{b64url(compact_json({**draft.header, 'alg': 'HS256'}))}.{b64url(compact_json(draft.claims))}"
    return f"{signing_input}.{b64url(hmac.digest(pem, signing_input.encode(), 'sha256'))}"


def _unsigned(draft: Draft) -> str:
    draft.header["alg"] = draft.random.choice(["none", "None", "NONE"])
    return f"{b64url(compact_json(draft.header))}.{b64url(compact_json(draft.claims))}."


def _der_signature(draft: Draft) -> str:
    head, _, _ = draft.sign().rpartition(".")
    raw = draft.signer.sign(head.encode())
    half = len(raw) // 2
    return f"{head}.{b64url(encode_dss_signature(int.from_bytes(raw[:half], 'big'), int.from_bytes(raw[half:], 'big')))}"


def _long_signature(draft: Draft) -> str:
    head, _, _ = draft.sign().rpartition(".")
    return f"{head}.{b64url(draft.signer.sign(head.encode()) + bytes(1))}"


def _another_character(token: str, random: Random) -> str:
    at = random.choice([index for index, character in enumerate(token[:-1]) if character != "."])
    return token[:at] + random.choice(_ALPHABET.replace(token[at], "")) + token[at + 1 :]


def _another_payload(token: str, random: Random) -> str:
    header, _, signature = token.split(".")
    return f"{header}.{b64url(compact_json(kubernetes_claims(sub=f'admin-{random.randrange(9)}')))}.{signature}"


def _trailing_bits(token: str, random: Random) -> str:
    """Spell the last character of the signature otherwise, so that it decodes to the same bytes."""
    unused_bits = {2: 4, 3: 2}[len(token.rpartition(".")[2]) % 4]
    value = _ALPHABET.index(token[-1])
    return token[:-1] + _ALPHABET[value | random.randrange(1, 1 << unused_bits)]


def _plain_alphabet(draft: Draft) -> str:
    while True:
        token = draft.sign()
        if "-" in token or "_" in token:
            return token.replace("-", "+").replace("_", "/")
        draft.claims["jti"] = f"{draft.random.getrandbits(128):032x}"


GOOD: dict[str, Recipe] = {
    "plain": Draft.sign,
    "audience in a list, as Kubernetes writes it": _claims(aud=[AUDIENCE]),
    "one of several audiences": _claims(aud=["other", AUDIENCE]),
    "typ JWT": _header(typ="JWT"),
    "typ in lower case": _header(typ="jwt"),
    "x5t": _header(x5t="q83vEjRWeJA"),
    "header member nobody knows": _header(extra={"deep": [1]}),
    "white space in the JSON": lambda draft: draft.sign_raw(payload=json.dumps(draft.claims, indent=2).encode()),
    "escaped characters": lambda draft: draft.sign_raw(
        payload=compact_json({**draft.claims, "name": "x"}).replace(b'"x"', b'"\\u00e9\\/\\n"')
    ),
    "claims beyond ASCII": _claims(name="Zoë, 名前, 🙂", groups=["ä", "ö"]),
    "exp with a fraction": _spelled(lambda value: value + 0.5, "exp"),
    "no nbf": _without("nbf"),
    "no iat": _without("iat"),
    "no jti": _without("jti"),
    "expired within the skew": _shifted("exp", -15, -5),
    "valid within the skew": _shifted("nbf", 5, 30),
    "many claims": _claims(**{f"claim_{number}": "x" * 40 for number in range(80)}),
}

BAD: dict[str, Recipe] = {
    "one character changed": _text(_another_character),
    "another payload": _text(_another_payload),
    "signed by another key": _other_key,
    "signature left out": _text(lambda token, _: token.rpartition(".")[0] + "."),
    "signature longer by a zero byte": _long_signature,
    "ECDSA signature in DER": _der_signature,
    "alg of the other key": _swap_algorithm,
    "alg none": _unsigned,
    "HS256 with the public key": _shared_secret,
    "unknown kid": _header(kid="stranger"),
    "kid a number": _header(kid=7),
    "crit": _header(crit=["exp"]),
    "crit of an unknown extension": _header(crit=["podpass.dev/x"], **{"podpass.dev/x": 1}),
    "b64": _header(b64=True),
    "jwk": _header(jwk={"kty": "oct", "k": "AA"}),
    "jku": _header(jku="https://attacker.example/keys"),
    "x5u": _header(x5u="https://attacker.example/chain"),
    "x5c": _header(x5c=["AA=="]),
    "typ of a logout token": _header(typ="logout+jwt"),
    "typ a number": _header(typ=1),
    "another issuer": _claims(iss="https://oidc.example/cluster-b"),
    "issuer with a slash": _claims(iss=ISSUER + "/"),
    "no issuer": _without("iss"),
    "another audience": _claims(aud=["https://kubernetes.default.svc"]),
    "audience with a letter more": _claims(aud=AUDIENCE + "x"),
    "empty audience": _claims(aud=[]),
    "no audience": _without("aud"),
    "audience among other types": _claims(aud=[AUDIENCE, 7]),
    "expired": _shifted("exp", -86400, -120),
    "no exp": _without("exp"),
    "exp a string": _spelled(str, "exp"),
    "exp true": _claims(exp=True),
    "exp null": _claims(exp=None),
    "exp beyond the calendar": _claims(exp=10**30),
    "not yet valid": _shifted("nbf", 120, 86400),
    "nbf a string": _spelled(str, "nbf"),
    "issued in the future": _shifted("iat", 120, 500),
    "iat a string": _spelled(str, "iat"),
    "no subject": _without("sub"),
    "empty subject": _claims(sub=""),
    "subject a number": _claims(sub=7),
    "sub twice": _payload(lambda payload: payload[:-1] + b',"sub":"admin"}'),
    "sub twice, once escaped": _payload(lambda payload: payload[:-1] + b',"s\\u0075b":"admin"}'),
    "alg twice": lambda draft: draft.sign_raw(header=b'{"alg":"none",' + compact_json(draft.header)[1:]),
    "claim NaN": _payload(lambda payload: payload[:-1] + b',"x":NaN}'),
    "not UTF-8": _payload(lambda payload: payload[:-1] + b',"x":"\xff"}'),
    "lone surrogate": _payload(lambda payload: payload[:-1] + b',"x":"\\ud800"}'),
    "nested 40 deep": _payload(lambda payload: payload[:-1] + b',"x":' + b"[" * 40 + b"]" * 40 + b"}"),
    "payload a list": lambda draft: draft.sign_raw(payload=b"[]"),
    "payload no JSON": lambda draft: draft.sign_raw(payload=b"hello"),
    "payload empty": lambda draft: draft.sign_raw(payload=b""),
    "header a list": lambda draft: draft.sign_raw(header=b"[]"),
    "padding": _text(lambda token, _: token + "=" * (-len(token.rpartition(".")[2]) % 4)),
    "line end": _text(lambda token, _: token + "\n"),
    "space before": _text(lambda token, _: " " + token),
    "plain base64": _plain_alphabet,
    "trailing bits": _text(_trailing_bits),
    "two parts": _text(lambda token, _: token.rpartition(".")[0]),
    "four parts": _text(lambda token, _: token + ".AA"),
    "over 16 KiB": _claims(padding="x" * 16384),
    "empty": _text(lambda _, __: ""),
}

# An RSA signature has no second form, and 96 and 132 bytes need no padding and leave no bits unused.
_ODD = tuple(name for name in SIGNERS if name not in {"ES384", "ES512"})
_FITTING = {"ECDSA signature in DER": ("ES256", "ES384", "ES512"), "padding": _ODD, "trailing bits": _ODD}
# What changes claims or header alone can be combined with more.
_TEXTUAL = {
    "plain",
    "white space in the JSON",
    "escaped characters",
    *(kind for kind in BAD if kind.startswith(("ECDSA", "sub twice", "payload", "header a", "one char", "another payload", "signature"))),
    *(
        "alg twice",
        "alg none",
        "HS256 with the public key",
        "signed by another key",
        "claim NaN",
        "not UTF-8",
        "lone surrogate",
        "nested 40 deep",
    ),
    *("padding", "line end", "space before", "plain base64", "trailing bits", "two parts", "four parts", "over 16 KiB", "empty"),
}


def corpus(seed: int, now_s: int, *, good: int, bad: int) -> list[Case]:
    """Make that many tokens of each kind.

    Args:
        seed: Of everything drawn at random but keys and ECDSA signatures.
        now_s: The moment around which they are valid, seconds since 1970 UTC.
        good: Tokens of each good kind.
        bad: Tokens of each bad kind.
    """
    random = Random(seed)
    cases = []
    for recipes, count, is_good in ((GOOD, good, True), (BAD, bad, False)):
        for kind, recipe in recipes.items():
            for _ in range(count):
                draft = Draft(random, now_s, *((_FITTING[kind],) if kind in _FITTING else ()))
                cases.append(Case(kind, recipe(draft), is_good, draft.signer.algorithm))
    return cases


def mixed(seed: int, now_s: int, count: int) -> list[MixedCase]:
    """Make tokens of two to four kinds each; most of these are good ones, so that a fault is often the only one."""
    random = Random(seed)
    good = [kind for kind in GOOD if kind not in _TEXTUAL]
    bad = [kind for kind in BAD if kind not in _TEXTUAL]
    cases: list[MixedCase] = []
    while len(cases) < count:
        kinds = random.sample(good, random.randrange(1, 3)) + random.sample(bad, random.random() < 0.3)
        random.shuffle(kinds)
        kinds.append(random.choice(list(GOOD if random.random() < 0.7 else BAD)))
        algorithms = (_FITTING[kinds[-1]],) if kinds[-1] in _FITTING else ()
        draft = Draft(random, now_s, *algorithms)
        try:
            texts = [{**GOOD, **BAD}[kind](draft) for kind in kinds]
        except (KeyError, TypeError):  # one bends what another one has taken away
            continue
        cases.append(MixedCase(tuple(kinds), texts[-1]))
    return cases
