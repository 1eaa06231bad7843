# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.errors import MalformedTokenError
from podpass.verify import compact
from token_forge import AUDIENCE, SUBJECT, b64url, compact_json, ec_signer, kubernetes_claims

HEADER = b64url(b'{"alg":"ES256","kid":"k"}')
PAYLOAD = b64url(compact_json(kubernetes_claims()))
SIGNATURE = b64url(b"\0" * 64)
CURE = "Send the token as it stands in its file, without white space, quotes or the word Bearer."


def header(text: bytes) -> str:
    return f"{b64url(text)}.{PAYLOAD}.{SIGNATURE}"


def payload(text: bytes) -> str:
    return f"{HEADER}.{b64url(text)}.{SIGNATURE}"


def test_a_token_is_taken_apart() -> None:
    token = ec_signer().token()
    parsed = compact.parse(token)
    assert (parsed.algorithm, parsed.kid, parsed.header) == ("ES256", "ec-1", {"alg": "ES256", "kid": "ec-1"})
    assert (parsed.payload.get("sub"), parsed.payload.get("aud"), parsed.payload.get("absent")) == (SUBJECT, [AUDIENCE], None)
    assert parsed.signing_input == token.rpartition(".")[0].encode()
    assert len(parsed.signature) == 64
    assert parsed.payload.raw == compact_json(kubernetes_claims())


def test_bytes_and_text_are_the_same_token() -> None:
    token = ec_signer().token()
    assert compact.parse(token) == compact.parse(token.encode())


def test_a_header_without_kid_is_read() -> None:
    assert compact.parse(header(b'{"alg":"ES256"}')).kid is None


def test_an_empty_signature_is_left_to_the_key() -> None:
    assert compact.parse(f"{HEADER}.{PAYLOAD}.").signature == b""


def test_members_that_bring_no_key_are_left_alone() -> None:
    token = compact.parse(header(b'{"alg":"ES256","kid":"k","typ":"JWT","cty":"x","x5t":"AA","x5t#S256":"AA","new":{"a":[1]}}'))
    assert token.header["x5t"] == "AA"


@pytest.mark.parametrize(
    ("token", "why"),
    [
        pytest.param("", "It has 0 parts; a signed token has three.", id="empty"),
        pytest.param("abc", "It has 1 part; a signed token has three.", id="one-part"),
        pytest.param(f"{HEADER}.{PAYLOAD}", "It has 2 parts; a signed token has three.", id="two-parts"),
        pytest.param(f"{HEADER}.{PAYLOAD}.{SIGNATURE}.", "It has 4 parts; a signed token has three.", id="four-parts"),
        pytest.param(f"{HEADER}.AA.AA.AA.AA", "It has 5 parts; a signed token has three.", id="encrypted"),
        pytest.param("." * 16384, "It has 16385 parts; a signed token has three.", id="only-dots"),
        pytest.param("a" * 16385, "It has 16385 bytes; podpass reads 16384 at most.", id="too-long"),
        pytest.param(b"a" * 16385, "It has 16385 bytes; podpass reads 16384 at most.", id="too-long-bytes"),
        pytest.param(f"{HEADER}.{PAYLOAD}.é", "It holds characters outside ASCII.", id="not-ascii"),
        pytest.param(f"{HEADER}.{PAYLOAD}.\ud800", "It holds characters outside ASCII.", id="surrogate"),
        pytest.param(f"{HEADER}=.{PAYLOAD}.{SIGNATURE}", "Its header cannot be read: it holds characters outside", id="header-padding"),
        pytest.param(f"{HEADER}.{PAYLOAD}=.{SIGNATURE}", "Its payload cannot be read: it holds characters outside", id="payload-padding"),
        pytest.param(
            f"{HEADER}.{PAYLOAD}.{SIGNATURE}==", "Its signature cannot be read: it holds characters outside", id="signature-padding"
        ),
        pytest.param(f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-1]}B", "Its signature cannot be read: its base64url ends in", id="trailing-bits"),
        pytest.param(f" {HEADER}.{PAYLOAD}.{SIGNATURE}", "Its header cannot be read: it holds characters outside", id="leading-space"),
        pytest.param(f"{HEADER}.{PAYLOAD}.{SIGNATURE}\n", "Its signature cannot be read: it holds characters outside", id="line-end"),
        pytest.param(
            f"Bearer {HEADER}.{PAYLOAD}.{SIGNATURE}", "Its header cannot be read: it holds characters outside", id="with-the-word-bearer"
        ),
        pytest.param(f".{PAYLOAD}.{SIGNATURE}", "Its header cannot be read: it is not JSON.", id="empty-header"),
        pytest.param(f"{HEADER}..{SIGNATURE}", "Its payload cannot be read: it is not JSON.", id="empty-payload"),
        pytest.param(header(b"[]"), "Its header cannot be read: it is not a JSON object.", id="header-list"),
        pytest.param(payload(b"[]"), "Its payload cannot be read: it is not a JSON object.", id="payload-list"),
        pytest.param(payload(b"hello"), "Its payload cannot be read: it is not JSON.", id="payload-text"),
        pytest.param(payload(b'{"a":"\xff"}'), "Its payload cannot be read: it is not UTF-8.", id="payload-not-utf-8"),
        pytest.param(
            header(b'{"alg":"none","alg":"ES256"}'), "header cannot be read: one of its JSON objects has a member", id="alg-twice"
        ),
        pytest.param(payload(b'{"sub":"a","sub":"b"}'), "payload cannot be read: one of its JSON objects has a member", id="sub-twice"),
        pytest.param(payload(b'{"a":' * 40 + b"1" + b"}" * 40), "payload cannot be read: it is nested deeper than 32 levels.", id="nested"),
        pytest.param(
            header(b'{"alg":"ES256","x":[' + b"[]," * 31 + b"[]]}"), "Its header has more than 32 objects and lists.", id="header-nested"
        ),
        pytest.param(header(b'{"kid":"k"}'), "Its header has no `alg` that is a string.", id="no-alg"),
        pytest.param(header(b'{"alg":""}'), "Its header has no `alg` that is a string.", id="empty-alg"),
        pytest.param(header(b'{"alg":["ES256"]}'), "Its header has no `alg` that is a string.", id="alg-list"),
        pytest.param(header(b'{"alg":null}'), "Its header has no `alg` that is a string.", id="alg-null"),
        pytest.param(header(b'{"alg":"ES256","typ":1}'), "Its header has a `typ` that is not a string.", id="typ-number"),
        pytest.param(header(b'{"alg":"ES256","typ":null}'), "Its header has a `typ` that is not a string.", id="typ-null"),
        pytest.param(header(b'{"alg":"ES256","kid":1}'), "a `kid` that is not a string of 1 to 256 characters.", id="kid-number"),
        pytest.param(header(b'{"alg":"ES256","kid":null}'), "a `kid` that is not a string of 1 to 256 characters.", id="kid-null"),
        pytest.param(header(b'{"alg":"ES256","kid":""}'), "a `kid` that is not a string of 1 to 256 characters.", id="kid-empty"),
        pytest.param(header(b'{"alg":"ES256","kid":"%s"}' % (b"k" * 257)), "not a string of 1 to 256 characters.", id="kid-too-long"),
    ],
)
def test_what_is_not_a_compact_token_is_refused_with_the_reason(token: str | bytes, why: str) -> None:
    with pytest.raises(MalformedTokenError) as caught:
        compact.parse(token)
    assert why in caught.value.why
    assert str(caught.value) == f"The token cannot be read. {caught.value.why} {CURE}"
    assert caught.value.full_code == "token.malformed"


@pytest.mark.parametrize("name", ["crit", "b64", "jwk", "jku", "x5u", "x5c"])
@pytest.mark.parametrize("value", [b"null", b'["exp"]', b"false", b'{"kty":"RSA"}', b'"https://attacker.example/keys"'])
def test_a_header_that_brings_keys_or_extensions_is_refused(name: str, value: bytes) -> None:
    with pytest.raises(MalformedTokenError) as caught:
        compact.parse(header(b'{"alg":"ES256","%s":%s}' % (name.encode(), value)))
    assert caught.value.why == f"Its header has the member {name}; podpass takes no keys from a token and knows no extensions."


def test_the_longest_kid_and_the_longest_token_are_read() -> None:
    token = header(b'{"alg":"ES256","kid":"%s"}' % (b"k" * 256))
    assert len(compact.parse(token).kid or "") == 256
    fill = 16384 - len(HEADER) - len(SIGNATURE) - 2
    padding = "x" * (fill * 3 // 4 - len('{"a":""}'))
    longest = payload(compact_json({"a": padding}))
    assert len(longest) == 16384
    assert compact.parse(longest).payload.members == {"a": padding}


def test_neither_token_nor_claims_are_shown_by_repr() -> None:
    parsed = compact.parse(ec_signer().token())
    assert repr(parsed) == f"<unverified token, {len(parsed.signing_input)} bytes, alg 'ES256', kid 'ec-1'>"
    assert repr(parsed.payload) == f"<unverified claims, {len(parsed.payload.raw)} bytes>"


def test_an_error_holds_no_part_of_the_token() -> None:
    token = payload(b'{"sub":"secret-subject","sub":1}')
    with pytest.raises(MalformedTokenError) as caught:
        compact.parse(token)
    assert "secret-subject" not in str(caught.value)
    assert not any(part in str(caught.value) for part in token.split("."))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param(b"[1]", "it is not a JSON object.", id="list"),
        pytest.param(b"{", "it is not JSON.", id="cut"),
        pytest.param(b'{"iss":' + b"[" * 5000, "it is nested deeper than 32 levels.", id="nested"),
        pytest.param(b'{"iss":' + b"[ " * 5000, "it is not JSON.", id="nested-with-blanks"),
        pytest.param(b'{"iss":"\xff"}', "it is not UTF-8.", id="bytes"),
    ],
)
def test_an_issuer_is_not_read_of_what_is_no_claims(text: bytes, why: str) -> None:
    with pytest.raises(MalformedTokenError) as caught:
        compact.Envelope(payload(text)).issuer()
    assert caught.value.why == f"Its payload cannot be read: {why}"


@pytest.mark.parametrize(
    "before",
    [b'{"x":"', b'{"a":"","x":"', b'{"a":"\\"","x":"', b'{"a":"\\\\","x":"', b'{"\\"":[],"x":"]'],
    ids=["alone", "beside-a-string", "beside-a-quote", "beside-a-backslash", "beside-a-quoted-name"],
)
def test_brackets_within_a_string_are_no_nest(before: bytes) -> None:
    envelope = compact.Envelope(payload(before + b"[" * 40 + b'","iss":"i"}'))
    assert envelope.issuer() == "i"
    assert envelope.claims().get("iss") == "i"


def test_a_nest_is_refused_at_sight() -> None:
    for before in (b'{"x":', b'{"iss":"i","x":"[","y":', b'{"iss":"i","x":['):
        with pytest.raises(MalformedTokenError, match="nested deeper than 32 levels"):
            compact.Envelope(payload(before + b"[" * 33 + b"]" * 33 + b"}")).issuer()
    shallow = compact.Envelope(payload(b'{"iss":"i","x":' + b"[" * 31 + b"]" * 31 + b"}"))
    assert (shallow.issuer(), shallow.claims().get("iss")) == ("i", "i")


def test_an_issuer_is_what_the_payload_says_last_and_the_whole_payload_must_say_it_once() -> None:
    envelope = compact.Envelope(payload(b'{"iss":"a","iss":["b"]}'))
    assert envelope.issuer() == ["b"]
    with pytest.raises(MalformedTokenError, match="a member twice"):
        envelope.claims()
    assert compact.Envelope(payload(b"{}")).issuer() is None
