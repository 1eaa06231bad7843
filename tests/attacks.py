# SPDX-License-Identifier: Apache-2.0
"""Known attacks on tokens and requests, a row each: everything is right but for what the row says.

docs/reference/security.md shows the table; run as a program, this prints it as the page has it.
"""

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from token_forge import AUDIENCE, ISSUER, NOW_S, Signer, b64url, compact_json, ec_signer, kubernetes_claims, rsa_signer, signer
from unit.guard.test_paths import AMBIGUOUS

EC, RSA = ec_signer("cluster-1"), rsa_signer("cluster-2")
# What the issuer has published.
PUBLISHED = (EC, RSA)
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_FORMATS = {"PEM": (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "DER": (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)}

MALFORMED, ALGORITHM, KEY, SIGNATURE = "token.malformed", "token.unsupported-algorithm", "token.unknown-key", "token.bad-signature"
ISSUERS, AUDIENCES, EXPIRED, EARLY, TYPE = (
    "token.wrong-issuer",
    "token.wrong-audience",
    "token.expired",
    "token.not-yet-valid",
    "token.wrong-type",
)


@dataclass(frozen=True)
class Attack:
    """What somebody tries, and the code of the answer."""

    name: str
    code: str
    token: bytes

    @property
    def is_plain(self) -> bool:
        """Whether any HTTP client and server would carry it in a header."""
        return all(0x21 <= octet <= 0x7E for octet in self.token)

    @property
    def guard_code(self) -> str:
        """What a guard says: to it, a comma ends a credential."""
        return "request.several-credentials" if b"," in self.token else self.code


@dataclass(frozen=True)
class RequestAttack:
    """A request with a good token and something else, and the code of the answer."""

    name: str
    code: str
    target: bytes = b"/private"
    headers: tuple[tuple[bytes, bytes], ...] = ()
    method: str = "GET"


def _header(mine: Signer = EC, **changed: Any) -> str:  # noqa: ANN401 - any JSON
    members = {"alg": mine.algorithm, "kid": mine.kid, **changed}
    return mine.token(header={name: value for name, value in members.items() if value is not None})


def _claims(**changed: Any) -> str:  # noqa: ANN401 - any JSON
    return EC.token(kubernetes_claims(**changed))


def _payload(change: Callable[[bytes], bytes]) -> str:
    return EC.raw_token(compact_json({"alg": "ES256", "kid": EC.kid}), change(compact_json(kubernetes_claims())))


def _raw_header(text: bytes) -> str:
    return EC.raw_token(text, compact_json(kubernetes_claims()))


def _added(text: str) -> str:
    return _payload(lambda payload: payload[:-1] + b"," + text.encode() + b"}")


def _signature(change: Callable[[bytes], bytes], mine: Signer = EC) -> str:
    head = mine.token().rpartition(".")[0]
    return f"{head}.{b64url(change(mine.sign(head.encode())))}"


def _secret(mine: Signer, form: str, algorithm: str = "HS256") -> str:
    secret = mine.key.public_key().public_bytes(*_FORMATS[form])
    head = f"{b64url(compact_json({'alg': algorithm, 'kid': mine.kid}))}.{b64url(compact_json(kubernetes_claims()))}"
    return f"{head}.{b64url(hmac.digest(secret, head.encode(), 'sha' + algorithm[2:]))}"


def _unsigned(algorithm: str) -> str:
    return f"{b64url(compact_json({'alg': algorithm, 'kid': EC.kid}))}.{b64url(compact_json(kubernetes_claims()))}."


def _pss() -> str:
    assert isinstance(RSA.key, rsa.RSAPrivateKey)
    head = RSA.token().rpartition(".")[0]
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    return f"{head}.{b64url(RSA.key.sign(head.encode(), pss, hashes.SHA256()))}"


def _sha1() -> str:
    assert isinstance(RSA.key, rsa.RSAPrivateKey)
    head = RSA.token().rpartition(".")[0]
    return f"{head}.{b64url(RSA.key.sign(head.encode(), padding.PKCS1v15(), hashes.SHA1()))}"


def _plus_modulus() -> str:
    """Find a signature that still fits its length when the modulus is added: the same number modulo it."""
    public_key = RSA.key.public_key()
    assert isinstance(public_key, rsa.RSAPublicKey)
    modulus = public_key.public_numbers().n
    for number in count():
        head, _, _ = RSA.token(kubernetes_claims(jti=str(number))).rpartition(".")
        larger = int.from_bytes(RSA.sign(head.encode()), "big") + modulus
        if larger < 2**2048:
            return f"{head}.{b64url(larger.to_bytes(256, 'big'))}"
    raise AssertionError


def _der(raw: bytes) -> bytes:
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def _numbers(r: int, s: int) -> str:
    return _signature(lambda _: r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def _mixed(*parts: int) -> str:
    """Put a token together from the parts of three good ones: of checkout, of cart, and of the other key."""
    tokens = (_claims(), _claims(sub="system:serviceaccount:shop:cart", **{"kubernetes.io": None}), RSA.token())
    return ".".join(tokens[which].split(".")[place] for place, which in enumerate(parts))


def _spelled(change: Callable[[str], str]) -> str:
    """Bend the text of a good token that has both letters of the URL alphabet, and unused bits at its end."""
    for number in count():
        token = RSA.token(kubernetes_claims(jti=str(number)))
        if "-" in token and "_" in token and token[-1] != "w":
            return change(token)
    raise AssertionError


def _algorithms() -> Iterator[tuple[str, str, str]]:
    for name in ("none", "None", "NONE", "nOnE"):
        yield f"`alg` {name}, no signature", ALGORITHM, _unsigned(name)
    yield "`alg` none, the signature kept", ALGORITHM, _header(alg="none")
    for form in _FORMATS:
        yield f"HS256 with the public RSA key ({form}) as secret", ALGORITHM, _secret(RSA, form)
    yield "HS256 with the public EC key (PEM) as secret", ALGORITHM, _secret(EC, "PEM")
    yield "HS512 with the public RSA key (PEM) as secret", ALGORITHM, _secret(RSA, "PEM", "HS512")
    yield "RSA key, `alg` ES256", ALGORITHM, _header(RSA, alg="ES256")
    yield "EC key, `alg` RS256", ALGORITHM, _header(EC, alg="RS256")
    for name in ("RS384", "RS512", "PS256"):
        mine = Signer(RSA.kid, RSA.key, name)
        yield f"the same RSA key, truly signed by {name}", ALGORITHM, mine.token()
    yield "PSS signature under `alg` RS256", SIGNATURE, _pss()
    yield "SHA-1 signature under `alg` RS256", SIGNATURE, _sha1()
    for name in ("rs256", "RS256 ", "RS256\0", "\u0415S256"):
        yield f"`alg` {name!a}" + (", its first letter Cyrillic" if not name.isascii() else ""), ALGORITHM, _header(RSA, alg=name)
    yield "no `alg`", MALFORMED, _header(alg=None)
    yield "`alg` a list", MALFORMED, _header(alg=["ES256"])
    yield "`alg` twice, none first", MALFORMED, _raw_header(b'{"alg":"none","alg":"ES256","kid":"cluster-1"}')
    yield "`alg` twice, none last", MALFORMED, _raw_header(b'{"alg":"ES256","kid":"cluster-1","alg":"none"}')
    yield "`alg` twice, once escaped", MALFORMED, _raw_header(b'{"alg":"ES256","kid":"cluster-1","\\u0061lg":"none"}')


def _keys() -> Iterator[tuple[str, str, str]]:
    for kid in ("stranger", "../../../../dev/null", "' UNION SELECT 'key", "|touch /tmp/x", "https://attacker.example/key", "CLUSTER-1"):
        yield f"`kid` {kid}", KEY, _header(kid=kid)
    for kid in ("cluster-1 ", "cluster-1\0", "cluster-\uff11"):
        yield f"`kid` {kid!a}", KEY, _header(kid=kid)
    yield "no `kid`, and several keys", KEY, _header(kid=None)
    kids: dict[str, Any] = {"empty": "", "a number": 1, "a list": ["cluster-1"], "an object": {"a": 1}, "of 257 characters": "k" * 257}
    for name, value in kids.items():
        yield f"`kid` {name}", MALFORMED, _header(kid=value)
    yield "`kid` twice", MALFORMED, _raw_header(b'{"alg":"ES256","kid":"other","kid":"cluster-1"}')
    yield "a stranger's key under a known `kid`", SIGNATURE, ec_signer("stranger").token(header={"alg": "ES256", "kid": EC.kid})
    members: dict[str, Any] = {
        "jwk": {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        "jku": "https://attacker.example/jwks",
        "x5u": "https://attacker.example/chain",
        "x5c": ["AA=="],
        "crit": ["exp"],
        "b64": False,
    }
    for name, value in members.items():
        yield f"header with `{name}`", MALFORMED, _header(**{name: value})


def _signatures() -> Iterator[tuple[str, str, str]]:
    yield "no signature", SIGNATURE, _signature(lambda _: b"")
    yield "psychic signature: r and s zero", SIGNATURE, _numbers(0, 0)
    yield "r zero", SIGNATURE, _numbers(0, 1)
    yield "s zero", SIGNATURE, _numbers(1, 0)
    yield "r and s the order of the group", SIGNATURE, _numbers(_ORDER, _ORDER)
    yield "r and s all ones", SIGNATURE, _numbers(2**256 - 1, 2**256 - 1)
    yield "r and s exchanged", SIGNATURE, _signature(lambda raw: raw[32:] + raw[:32])
    yield "ECDSA signature in DER", SIGNATURE, _signature(_der)
    yield "ECDSA signature cut by a byte", SIGNATURE, _signature(lambda raw: raw[:-1])
    yield "ECDSA signature and a zero byte", SIGNATURE, _signature(lambda raw: raw + b"\0")
    yield "one bit of the signature", SIGNATURE, _signature(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]))
    yield "RSA signature of zero", SIGNATURE, _signature(lambda raw: bytes(len(raw)), RSA)
    yield "RSA signature of one", SIGNATURE, _signature(lambda raw: bytes(len(raw) - 1) + b"\1", RSA)
    yield "RSA signature after a zero byte", SIGNATURE, _signature(lambda raw: b"\0" + raw, RSA)
    yield "RSA signature plus the modulus", SIGNATURE, _plus_modulus()
    yield "the other key's signature", SIGNATURE, _mixed(0, 0, 2)
    yield "another token's signature", SIGNATURE, _mixed(0, 0, 1)
    yield "another token's payload", SIGNATURE, _mixed(0, 1, 0)
    yield "another token's header", SIGNATURE, _mixed(2, 0, 0)
    yield "header and payload exchanged", MALFORMED, ".".join((_claims().split(".")[1], *_claims().split(".")[::2]))


def _texts() -> Iterator[tuple[str, str, str | bytes]]:
    good = _claims()
    header, payload, signature = good.split(".")
    yield "signature cut off", MALFORMED, f"{header}.{payload}"
    yield "header alone", MALFORMED, header
    yield "four parts", MALFORMED, good + ".AA"
    yield "five parts, as an encrypted token has", MALFORMED, good + ".AA.AA"
    yield "JSON form of a JWS", MALFORMED, compact_json({"protected": header, "payload": payload, "signature": signature})
    yield "cut by one character", MALFORMED, good[:-1]
    yield "cut by two characters", SIGNATURE, good[:-2]
    yield "cut in the middle of the payload", MALFORMED, good[: len(header) + 40]
    yield "padding after the signature", MALFORMED, _spelled(lambda token: token + "=" * (-len(token.rpartition(".")[2]) % 4))
    yield "padding after the header", MALFORMED, f"{header}=.{payload}.{signature}"
    yield "plain base64", MALFORMED, _spelled(lambda token: token.replace("-", "+").replace("_", "/"))
    yield "bits set after the last byte", MALFORMED, _spelled(lambda token: token[:-1] + {"A": "B", "Q": "R", "g": "h"}[token[-1]])
    yield "percent-encoded", MALFORMED, good.replace(".", "%2E")
    yield "line end after it", MALFORMED, good + "\n"
    yield "line end within", MALFORMED, f"{header}.\r\n {payload}.{signature}"
    yield "tab within", MALFORMED, f"{header}.\t{payload}.{signature}"
    yield "NUL after it", MALFORMED, good + "\0"
    yield "quotes around it", MALFORMED, f'"{good}"'
    yield "fullwidth dots", MALFORMED, good.replace(".", "\uff0e").encode()
    yield "a letter that normalises to another", MALFORMED, good.replace("e", "\uff45", 1).encode()
    yield "bytes outside ASCII", MALFORMED, good.encode() + b"\xff"
    yield "another token as payload", MALFORMED, EC.raw_token(compact_json({"alg": "ES256", "kid": EC.kid, "cty": "JWT"}), good.encode())
    yield "17 KiB of letters", MALFORMED, "a" * 17_408
    yield "16 KiB of dots", MALFORMED, "." * 16_384
    yield "16 KiB and a byte, signed", MALFORMED, _long(16_385)


def _long(size: int) -> str:
    for length in range(size // 2, size):
        token = _claims(padding="x" * length)
        if len(token) >= size:
            return token
    raise AssertionError


def _json() -> Iterator[tuple[str, str, str]]:
    for name, value in (("sub", '"admin"'), ("iss", f'"{ISSUER}"'), ("aud", f'"{AUDIENCE}"'), ("exp", str(NOW_S + 9999))):
        yield f"`{name}` twice", MALFORMED, _added(f'"{name}":{value}')
    yield "`sub` twice, once escaped", MALFORMED, _added('"s\\u0075b":"admin"')
    yield "a member twice, two levels down", MALFORMED, _added('"x":{"y":{"a":1,"a":2}}')
    yield "NaN", MALFORMED, _added('"x":NaN')
    yield "Infinity", MALFORMED, _added('"x":-Infinity')
    yield "a number beyond every double", MALFORMED, _added('"x":1e999')
    yield "a comment", MALFORMED, _payload(lambda payload: payload + b"/* admin */")
    yield "a comma too many", MALFORMED, _payload(lambda payload: payload[:-1] + b",}")
    yield "two objects", MALFORMED, _payload(lambda payload: payload + b"{}")
    yield "a byte order mark", MALFORMED, _payload(lambda payload: b"\xef\xbb\xbf" + payload)
    yield "UTF-16", MALFORMED, _payload(lambda payload: payload.decode().encode("utf-16"))
    yield "bytes that are not UTF-8", MALFORMED, _payload(lambda payload: payload[:-1] + b',"x":"\xff"}')
    yield "UTF-8 longer than need be", MALFORMED, _payload(lambda payload: payload[:-1] + b',"x":"\xc0\xae"}')
    yield "a lone surrogate", MALFORMED, _added('"x":"\\ud800"')
    yield "a control character", MALFORMED, _added('"x":"\t"')
    yield "a list", MALFORMED, _payload(lambda payload: b"[" + payload + b"]")
    yield "a string", MALFORMED, _payload(lambda payload: compact_json(payload.decode()))
    yield "nothing", MALFORMED, _payload(lambda _: b"")
    yield "lists, 40 deep", MALFORMED, _added('"x":' + "[" * 40 + "]" * 40)
    yield "lists, 4,000 deep", MALFORMED, _added('"x":' + "[" * 4000 + "]" * 4000)
    yield "objects, 40 deep", MALFORMED, _added('"x":' + '{"a":' * 40 + "1" + "}" * 40)
    yield (
        "objects in the header, 40 deep",
        MALFORMED,
        _raw_header(b'{"alg":"ES256","kid":"cluster-1","x":' + b'{"a":' * 40 + b"1" + b"}" * 41),
    )


def _times() -> Iterator[tuple[str, str, str]]:
    yield "expired", EXPIRED, _claims(exp=NOW_S - 31)
    yield "expired in 1970", EXPIRED, _claims(exp=0)
    yield "no `exp`", MALFORMED, _claims(exp=None)
    for value, name in (
        (str(NOW_S + 60), "a string"),
        (True, "true"),
        ([NOW_S + 60], "a list"),
        (-1, "negative"),
        (10**30, "in 10^22 years"),
    ):
        yield f"`exp` {name}", MALFORMED, _claims(exp=value)
    yield "`exp` null", MALFORMED, _payload(lambda payload: payload.replace(b'"exp":%d' % (NOW_S + 3600), b'"exp":null'))
    yield "`nbf` in the future", EARLY, _claims(nbf=NOW_S + 31)
    yield "`nbf` a string", MALFORMED, _claims(nbf="0")
    yield "`iat` in the future", EARLY, _claims(iat=NOW_S + 31)
    yield "`iat` true", MALFORMED, _claims(iat=True)


def _addressees() -> Iterator[tuple[str, str, str]]:
    yield "another service's audience", AUDIENCES, _claims(aud=["cart-api"])
    for value in (f"{AUDIENCE}/", f"{AUDIENCE} ", AUDIENCE.upper(), AUDIENCE[:-1], f"x{AUDIENCE}", "*", ""):
        yield f"audience {value!r} for '{AUDIENCE}'", AUDIENCES, _claims(aud=[value])
    yield "no audience in the list", AUDIENCES, _claims(aud=[])
    yield "no `aud`", MALFORMED, _claims(aud=None)
    yield "`aud` an object", MALFORMED, _claims(aud={AUDIENCE: True})
    yield "`aud` with a number", MALFORMED, _claims(aud=[AUDIENCE, 7])
    yield "a second audience", "token.several-audiences", _claims(aud=[AUDIENCE, "cart-api"])
    yield "the cluster's default token", AUDIENCES, _claims(aud=[ISSUER])
    for value in (ISSUER, "https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local", "k3s", "my-api"):
        yield f"good for an API server too: {value}", "token.api-audience", _claims(aud=[AUDIENCE, value])


def _issuers() -> Iterator[tuple[str, str, str]]:
    for value in (
        f"{ISSUER}/",
        ISSUER.replace("https", "http"),
        ISSUER.replace("oidc", "OIDC"),
        ISSUER.replace("oidc.example", "oidc.example:443"),
        ISSUER.replace("oidc.example", "user@oidc.example"),
        f"{ISSUER}/../cluster-a",
        f"{ISSUER}\n",
        ISSUER.replace("a", "\u0430"),
        "https://attacker.example",
        "file:///etc/passwd",
        "http://169.254.169.254/",
    ):
        yield f"issuer {value!a}", ISSUERS, _claims(iss=value)
    yield "no `iss`", MALFORMED, _claims(iss=None)
    yield "`iss` a list", MALFORMED, _claims(iss=[ISSUER])


def _subjects() -> Iterator[tuple[str, str, str]]:
    yield "no `sub`", MALFORMED, _claims(sub=None)
    yield "`sub` empty", MALFORMED, _claims(sub="")
    yield "`sub` a list", MALFORMED, _claims(sub=["system:serviceaccount:shop:checkout"])
    yield "`sub` another account than `kubernetes.io`", MALFORMED, _claims(sub="system:serviceaccount:shop:admin")
    yield "`sub` another namespace than `kubernetes.io`", MALFORMED, _claims(sub="system:serviceaccount:kube-system:checkout")
    for kind in ("logout+jwt", "dpop+jwt", "secevent+jwt", "at+jwt"):
        yield f"a token of type {kind}", TYPE, _header(typ=kind)


GROUPS: dict[str, Callable[[], Iterator[tuple[str, str, str | bytes]]]] = {
    "Algorithm": _algorithms,
    "Key": _keys,
    "Signature": _signatures,
    "Text": _texts,
    "JSON": _json,
    "Time": _times,
    "Audience": _addressees,
    "Issuer": _issuers,
    "Subject and type": _subjects,
}
ATTACKS = {
    group: [Attack(name, code, token.encode() if isinstance(token, str) else token) for name, code, token in rows()]
    for group, rows in GROUPS.items()
}
_TOKEN = b"Bearer " + _claims().encode()
_GOOD = (b"authorization", _TOKEN)
REQUESTS = {
    "Headers": [
        RequestAttack("two headers, both good", "request.several-credentials", headers=(_GOOD, _GOOD)),
        RequestAttack(
            "two headers, one of another scheme", "request.several-credentials", headers=(_GOOD, (b"authorization", b"Basic YTpi"))
        ),
        RequestAttack("two tokens in one header", "request.several-credentials", headers=((b"authorization", _TOKEN + b", " + _TOKEN),)),
        RequestAttack("two tokens behind one word", MALFORMED, headers=((b"authorization", _TOKEN + b" " + _TOKEN[7:]),)),
        RequestAttack("no token", "token.missing"),
        RequestAttack("nothing behind the word Bearer", MALFORMED, headers=((b"authorization", b"Bearer"),)),
        RequestAttack("the word Bearer twice", MALFORMED, headers=((b"authorization", b"Bearer " + _TOKEN),)),
        RequestAttack("a token behind another word", "token.missing", headers=((b"authorization", _TOKEN.replace(b"Bearer", b"JWT")),)),
        RequestAttack("a token without a word", "token.missing", headers=((b"authorization", _TOKEN[7:]),)),
        RequestAttack("a token in the query", "token.missing", b"/private?access_token=" + _TOKEN[7:]),
        RequestAttack("a token in a cookie", "token.missing", headers=((b"cookie", b"token=" + _TOKEN[7:]),)),
        RequestAttack("a token in Proxy-Authorization", "token.missing", headers=((b"proxy-authorization", _TOKEN),)),
        RequestAttack(
            "a token in a header that the policy does not read", "token.missing", headers=((b"x-serverless-authorization", _TOKEN),)
        ),
        RequestAttack(
            "headers of a proxy that name a caller",
            "token.missing",
            headers=((b"x-forwarded-user", b"system:serviceaccount:shop:checkout"),),
        ),
    ],
    "Path": [
        RequestAttack(f"{raw.decode('latin-1')!a}, with {why}", "request.ambiguous-path", raw, (_GOOD,))
        for raw, why in AMBIGUOUS
        if b"?" not in raw
    ],
}
# Good tokens, each of its own kind: whatever refuses everything would pass the table as well.
SOUND = [_claims(), _claims(aud=AUDIENCE), RSA.token(), _header(typ="JWT"), _header(x5t="AA"), _payload(lambda payload: b" " + payload)]
UNASKED = [signer(name).token(header={"alg": name, "kid": EC.kid}) for name in ("ES384", "ES512", "EdDSA", "PS512")]


def tables(groups: Mapping[str, Sequence[Attack | RequestAttack]]) -> str:
    """Write the table of each group in Markdown."""
    sections = []
    for group, attacks in groups.items():
        rows = [f"| {attack.name.replace('|', chr(92) + '|')} | `{attack.code}` |" for attack in attacks]
        sections.append("\n".join([f"### {group}", "", "| attack | refused with |", "|---|---|", *rows]))
    return "\n\n".join(sections)


if __name__ == "__main__":
    print(f"## Tokens\n\n{tables(ATTACKS)}\n\n## Requests\n\n{tables(REQUESTS)}")
