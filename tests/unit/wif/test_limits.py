# SPDX-License-Identifier: Apache-2.0
import json
from typing import Any

import pytest

from podpass.verify import KeySet, VerificationKey, public_jwk
from podpass.verify.compact import KID_LIMIT_CHARS
from podpass.wif.jwks_rules import judge_jwks
from podpass.wif.limits import Violation, check_pool, check_provider, check_service_account
from token_forge import ec_signer, rsa_signer

GOOD: dict[str, Any] = {
    "provider_id": "demo-oidc",
    "issuer_uri": "https://oidc.example/cluster-a",
    "attribute_mapping": {"google.subject": "assertion.sub"},
}
SYNTAX = "Input JWK is not in a valid json format"
CORRUPT = "Input jwks contains corrupted key material."
KEY_TYPE = "Invalid JWKs. Only RSA, EC key types are supported."
GITHUB = "https://token.actions.githubusercontent.com"


def broken(**changed: Any) -> list[Violation]:  # noqa: ANN401 - the fields of the API
    return check_provider(**{**GOOD, **changed})


def messages(**changed: Any) -> list[str]:  # noqa: ANN401 - the fields of the API
    return [violation.message for violation in broken(**changed)]


def test_the_article_s_provider_is_accepted() -> None:
    mapping = {"google.subject": "assertion.sub", "attribute.sub": "assertion.sub", "google.groups": "assertion.groups"}
    keys = KeySet.of(VerificationKey.of(signer.key.public_key()) for signer in (rsa_signer(), ec_signer(), rsa_signer("large", 4096)))
    assert (
        broken(
            attribute_mapping=mapping,
            attribute_condition="assertion.sub.startsWith('system:')",
            allowed_audiences=("a" * 256,) * 10,
            jwks_json=keys.canonical_json(),
            display_name="d" * 32,
            description="d" * 256,
        )
        == []
    )


def test_an_update_has_no_id_to_judge() -> None:
    assert broken(provider_id=None) == []


@pytest.mark.parametrize("identifier", ["abc", "a" * 33, "Upper", "under_score", "gcp-mine", ""])
def test_ids_of_pools_and_providers(identifier: str) -> None:
    (of_provider,) = broken(provider_id=identifier)
    (of_pool,) = check_pool(identifier)
    assert (of_provider.field, of_pool.field) == ("workloadIdentityPoolProviderId", "workloadIdentityPoolId")
    assert of_provider.message.startswith(f"{identifier!r} cannot be the id of a provider. ")
    assert of_pool.message.startswith(f"{identifier!r} cannot be the id of a workload identity pool. ")


@pytest.mark.parametrize(
    ("identifier", "has"), [("abc", "3 characters"), ("a" * 33, "33 characters"), ("Shop_Cluster", "'S', '_', 'C'"), ("\x1bxxx", "'\\x1b'")]
)
def test_what_is_wrong_with_an_id_is_named(identifier: str, has: str) -> None:
    (finding,) = check_pool(identifier)
    assert f"An id has 4 to 32 of a-z, 0-9 and '-'; this one has {has}." in finding.message


@pytest.mark.parametrize("identifier", ["abcd", "a" * 32, "0-9-", "a-b-c"])
def test_ids_that_google_accepts(identifier: str) -> None:
    assert broken(provider_id=identifier) == check_pool(identifier) == []


def test_names_and_descriptions_have_limits() -> None:
    expected = [
        Violation("displayName", "The display name must have at most 32 characters."),
        Violation("description", "The description must have at most 256 characters."),
    ]
    assert broken(display_name="d" * 33, description="d" * 257) == expected
    assert check_pool("demo-pool", display_name="d" * 33, description="d" * 257) == expected
    assert check_pool("demo-pool", display_name="é" * 32, description="é" * 256) == []


@pytest.mark.parametrize(
    ("issuer", "message"),
    [
        ("http://oidc.example", "Invalid OIDC issuer URI. The scheme must be https."),
        ("ftp://oidc.example", "Invalid OIDC issuer URI. The scheme must be https."),
        ("oidc.example", "Invalid OIDC issuer URI."),
        ("//oidc.example", "Invalid OIDC issuer URI."),
        ("https://", "Invalid OIDC issuer URI."),
        ("https://[half", "Invalid OIDC issuer URI."),
        ("", "Invalid OIDC issuer URI."),
    ],
)
def test_an_issuer_is_an_https_url(issuer: str, message: str) -> None:
    assert broken(issuer_uri=issuer) == [Violation("oidc.issuerUri", message)]


def test_ten_audiences_of_256_characters() -> None:
    assert messages(allowed_audiences=("a",) * 11) == ["At most 10 audiences are allowed."]
    assert messages(allowed_audiences=("a" * 257, "")) == ["An audience must have 1 to 256 characters."] * 2


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "The attribute mapping must contain the key google.subject."),
        ({"attribute.x": "assertion.sub"}, "The attribute mapping must contain the key google.subject."),
        ({"attribute.Upper": "assertion.x"}, "The attribute mapping key 'attribute.Upper' is invalid."),
        ({"attribute.": "assertion.x"}, "The attribute mapping key 'attribute.' is invalid."),
        ({"attribute." + "x" * 101: "assertion.x"}, f"The attribute mapping key 'attribute.{'x' * 101}' is invalid."),
        ({"google.email": "assertion.x"}, "The attribute mapping key 'google.email' is invalid."),
        ({"sub": "assertion.x"}, "The attribute mapping key 'sub' is invalid."),
        ({"attribute.x": "x" * 2049}, "The expression of 'attribute.x' must have at most 2048 characters."),
        ({"attribute.x": "assertion."}, "The expression of 'attribute.x' is invalid: Line 1, column 11: Syntax error"),
        ({"attribute.x": "google.subject"}, "The expression of 'attribute.x' is invalid: Line 1, column 7: undeclared reference"),
        ({"attribute.x": ""}, "The expression of 'attribute.x' is invalid: Line 1, column 1: Syntax error"),
        ({"attribute.x": "1 + 1"}, "The mapped attribute 'attribute.x' must be of type STRING"),
        ({"attribute.x": "['a']"}, "The mapped attribute 'attribute.x' must be of type STRING"),
        ({"google.subject": "true"}, "The mapped attribute 'google.subject' must be of type STRING"),
        ({"google.groups": "'a'"}, "The mapped attribute 'google.groups' must be of type LIST<STRING>"),
    ],
)
def test_what_a_mapping_may_hold(mapping: dict[str, str], message: str) -> None:
    base = {} if "key google.subject" in message else GOOD["attribute_mapping"]
    (violation,) = broken(attribute_mapping={**base, **mapping})
    assert violation.field == "attributeMapping"
    assert violation.message.startswith(message)


def test_fifty_custom_attributes_beside_googles_own() -> None:
    fifty = {"google.subject": "assertion.sub", **{f"attribute.a{number}": "assertion.sub" for number in range(50)}}
    assert broken(attribute_mapping=fifty) == []
    assert messages(attribute_mapping={**fifty, "attribute.one_more": "'x'"}) == ["At most 50 custom attributes are allowed."]


@pytest.mark.parametrize("length", [4096, 4097])
def test_a_condition_has_4096_characters(length: int) -> None:
    condition = "assertion.sub == '" + "x" * (length - 19) + "'"
    assert len(condition) == length
    assert messages(attribute_condition=condition) == (
        [] if length == 4096 else ["The attribute condition must have at most 4096 characters."]
    )


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("assertion.sub ==", "The attribute condition is invalid: Line 1, column 17: Syntax error"),
        ("request.time == 1", "The attribute condition is invalid: Line 1, column 8: undeclared reference to 'request.time'."),
        ("'yes'", "The attribute condition must be of type BOOL."),
        ("attribute.x", "The attribute condition must be of type BOOL."),
    ],
)
def test_a_condition_is_a_boolean_expression(condition: str, message: str) -> None:
    (violation,) = broken(attribute_condition=condition)
    assert violation.field == "attributeCondition"
    assert violation.message.startswith(message)


@pytest.mark.parametrize("condition", [None, "", "true"])
@pytest.mark.parametrize("issuer", [GITHUB, "https://gitlab.com", "https://app.terraform.io"])
def test_an_issuer_that_everybody_shares_needs_a_condition_on_its_claims(issuer: str, condition: str | None) -> None:
    assert messages(issuer_uri=issuer, attribute_condition=condition) == [
        (
            "The attribute condition must reference one of the provider's claims. For more information, see "
            "https://cloud.google.com/iam/docs/workload-identity-federation-with-deployment-pipelines#conditions"
        )
    ]
    assert messages(issuer_uri=issuer, attribute_condition="assertion.repository_owner == 'me'") == []


def jwks(**changed: Any) -> str:  # noqa: ANN401 - any JSON
    return json.dumps({"keys": [{**public_jwk(rsa_signer().key.public_key(), "k"), **changed}]})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("{", SYNTAX, id="not-json"),
        pytest.param("[]", SYNTAX, id="list"),
        pytest.param("{}", SYNTAX, id="no-keys"),
        pytest.param('{"keys":[]}', SYNTAX, id="empty"),
        pytest.param('{"keys":7}', SYNTAX, id="keys-number"),
        pytest.param('{"keys":["x"]}', SYNTAX, id="no-object"),
        pytest.param(jwks(x5c=["AA"]), SYNTAX, id="x5c"),
        pytest.param(jwks(x5t="AA"), SYNTAX, id="x5t"),
        pytest.param(jwks(d="AQAB"), SYNTAX, id="private"),
        pytest.param(jwks(key_ops=["verify"]), SYNTAX, id="key-ops"),
        pytest.param(jwks(kty="OKP"), CORRUPT, id="okp"),
        pytest.param(jwks(n="AQAB"), CORRUPT, id="tiny"),
        pytest.param(jwks(n="%"), CORRUPT, id="not-base64url"),
        pytest.param(jwks(kid="k" * (KID_LIMIT_CHARS + 1)), CORRUPT, id="long-kid"),
        pytest.param(jwks(kty="oct"), KEY_TYPE, id="symmetric"),
        pytest.param('{"keys":[{"kty":"EC","crv":"P-384","kid":"k","x":"AQAB","y":"AQAB"}]}', KEY_TYPE, id="p-384"),
        pytest.param('{"keys":[{"kty":"EC","crv":"P-521","kid":"k","x":"AQAB","y":"AQAB"}]}', KEY_TYPE, id="p-521"),
    ],
)
def test_a_key_set_that_google_refuses(text: str, message: str) -> None:
    assert judge_jwks(text) == message
    assert broken(jwks_json=text) == [Violation("oidc.jwksJson", message)]


@pytest.mark.parametrize("key", [{"kty": ["RSA"]}, {"kty": {}}, {"kty": "EC", "crv": ["P-256"]}, {"kty": "EC", "crv": {}}])
def test_a_key_of_a_type_that_is_no_text_is_refused(key: dict[str, Any]) -> None:
    assert judge_jwks(json.dumps({"keys": [key]})) == KEY_TYPE


def test_keys_without_alg_are_accepted_and_one_bad_key_spoils_the_set() -> None:
    good = {name: value for name, value in public_jwk(ec_signer().key.public_key(), "k").items() if name not in {"alg", "use"}}
    assert judge_jwks(json.dumps({"keys": [good, good]})) is None
    assert judge_jwks(json.dumps({"keys": [good, {"kty": "OKP"}]})) == CORRUPT


@pytest.mark.parametrize("account_id", ["short", "a" * 31, "1digit", "ends-in-", "Upper-case", "under_score", "six\nch"])
def test_ids_of_service_accounts(account_id: str) -> None:
    (violation,) = check_service_account(account_id)
    assert violation == Violation(
        "accountId", "The account ID must have 6 to 30 of a-z, 0-9 and '-', begin with a letter and not end in '-'."
    )


def test_the_labels_of_a_service_account_are_counted_in_bytes() -> None:
    assert check_service_account("wif-demo-sa", display_name="é" * 50, description="é" * 128) == []
    assert check_service_account("a" * 30, display_name="é" * 51, description="é" * 129) == [
        Violation("displayName", "The display name must have at most 100 bytes."),
        Violation("description", "The description must have at most 256 bytes."),
    ]


def test_several_mistakes_are_told_together() -> None:
    assert [violation.field for violation in broken(provider_id="x", issuer_uri="http://x", attribute_mapping={}, jwks_json="x")] == [
        "workloadIdentityPoolProviderId",
        "oidc.issuerUri",
        "attributeMapping",
        "oidc.jwksJson",
    ]


def test_an_expression_of_2048_characters_is_accepted() -> None:
    assert broken(attribute_mapping={"google.subject": "assertion.sub", "attribute.x": f"'{'x' * 2046}'"}) == []
