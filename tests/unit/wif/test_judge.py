# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from podpass.errors import KeySetError, UnexpectedAnswerError, UnreachableError
from podpass.names import ProviderName
from podpass.verify import KeySet, VerificationKey
from podpass.wif import CHECKS, Judgement, Provider, Refusal, judge, judge_exchange
from token_forge import ISSUER, NOW, NOW_S, SUBJECT, Signer, ec_signer, kubernetes_claims, rsa_signer

NAME = ProviderName.parse("projects/415104041262/locations/global/workloadIdentityPools/demo-pool/providers/demo-oidc")
AUDIENCE = "//iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/demo-pool/providers/demo-oidc"
KEYS = KeySet.of(VerificationKey.of(signer.key.public_key(), signer.kid) for signer in (rsa_signer(), ec_signer()))
PROVIDER = Provider(
    NAME,
    ISSUER,
    {"google.subject": "assertion.sub", "attribute.namespace": "assertion['kubernetes.io'].namespace"},
    "attribute.namespace == 'shop' && google.subject == assertion.sub",
)
PARSE = "Unable to parse the ID Token."
CONNECTING = "Error connecting to the given credential's issuer."
SIGNATURE = "Unable to verify the ID Token signature."
CONDITION = "The given credential is rejected by the attribute condition."
SUBJECT_SIZE = (
    "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or the incoming "
    "assertion to produce a mapped attribute that is less than 127 bytes."
)
TOTAL_SIZE = "The total size of the mapped attributes exceeds the 8 KB limit."
TARGET = (
    'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or provider is disabled '
    "or deleted or because it doesn't exist."
)


def forged(signer: Signer | None = None, header: dict[str, Any] | None = None, **changed: Any) -> str:  # noqa: ANN401 - any JSON
    return (signer or ec_signer()).token(kubernetes_claims(**{"aud": [AUDIENCE], **changed}), header)


def judged(token: str, provider: Provider = PROVIDER, **options: Any) -> Judgement:  # noqa: ANN401 - options of `judge`
    return judge(token, provider, lambda _: KEYS, NOW, **options)


def refusal_of(judgement: Judgement) -> tuple[str, str, str]:
    """Return the name of the failed check, the code and the text."""
    assert judgement.refusal is not None
    assert [check.passed for check in judgement.checks] == [True] * (len(judgement.checks) - 1) + [False]
    assert (judgement.subject, judgement.groups, dict(judgement.attributes), judgement.expires_in_s) == ("", (), {}, None)
    return judgement.checks[-1].name, judgement.refusal.code, judgement.refusal.description


@pytest.mark.parametrize("signer", [rsa_signer(), ec_signer()], ids=["RS256", "ES256"])
def test_a_projected_token_becomes_an_identity(signer: Signer) -> None:
    judgement = judged(forged(signer))
    assert judgement.refusal is None
    assert judgement.subject == SUBJECT
    assert dict(judgement.attributes) == {"google.subject": SUBJECT, "attribute.namespace": "shop"}
    assert judgement.groups == ()
    assert judgement.expires_in_s == 3598
    assert tuple(check.name for check in judgement.checks) == CHECKS[1:]
    assert judgement.not_reached == ("audience-field",)
    assert all(check.passed and check.detail and not check.warning for check in judgement.checks)


def test_the_whole_request_is_judged_in_the_order_of_the_checks() -> None:
    judgement = judge_exchange(AUDIENCE, forged(), {NAME: PROVIDER}.get, lambda _: KEYS, NOW)
    assert judgement.refusal is None
    assert tuple(check.name for check in judgement.checks) == CHECKS
    assert judgement.not_reached == ()


@pytest.mark.parametrize(
    "audience",
    [
        "https:" + AUDIENCE,
        AUDIENCE.removeprefix("//iam.googleapis.com/"),
        AUDIENCE + "/",
        AUDIENCE + "\n",
        AUDIENCE.rpartition("/providers/")[0],
        "//iam.googleapis.com/locations/global/workforcePools/p/providers/q",
        "//attacker.example/" + str(NAME),
        "",
    ],
)
def test_an_audience_field_that_is_not_a_providers_full_name_is_an_invalid_request(audience: str) -> None:
    judgement = judge_exchange(audience, forged(), {NAME: PROVIDER}.get, lambda _: KEYS, NOW)
    assert refusal_of(judgement) == (
        "audience-field",
        "invalid_request",
        'Invalid value for "audience". This value should be the full resource name of the Identity Provider.',
    )
    assert judgement.not_reached == CHECKS[1:]


@pytest.mark.parametrize("wrong", [("demo-pool", "other-pool"), ("demo-oidc", "other-oidc"), ("demo-pool", "abc"), ("demo-oidc", "gcp-x")])
def test_a_provider_that_does_not_exist_is_an_invalid_target(wrong: tuple[str, str]) -> None:
    judgement = judge_exchange(AUDIENCE.replace(*wrong), forged(), {NAME: PROVIDER}.get, lambda _: KEYS, NOW)
    assert refusal_of(judgement) == ("provider", "invalid_target", TARGET)


OFF = {
    "The provider is disabled.": replace(PROVIDER, disabled=True),
    "The provider is deleted.": replace(PROVIDER, deleted=True),
    "The pool is disabled.": replace(PROVIDER, pool_disabled=True),
    "The pool is deleted.": replace(PROVIDER, pool_deleted=True),
}


@pytest.mark.parametrize("state", OFF)
def test_a_provider_or_pool_that_is_off_is_an_invalid_target(state: str) -> None:
    judgement = judged(forged(), OFF[state])
    assert refusal_of(judgement) == ("provider", "invalid_target", TARGET)
    assert judgement.checks[-1].detail == state


@pytest.mark.parametrize(
    "token",
    ["", "junk", forged() + ".", forged(header={"alg": "ES256", "jku": "https://x.example"}), forged(header={"alg": "none"})],
    ids=["empty", "junk", "four-parts", "jku", "alg-none"],
)
def test_what_is_no_token_is_not_parsed(token: str) -> None:
    assert refusal_of(judged(token)) == ("parse", "invalid_grant", PARSE)


@pytest.mark.parametrize(
    ("iss", "shown"), [(None, "null"), ("https://other.example", "https://other.example"), (ISSUER + "/", ISSUER + "/"), (7, "7")]
)
def test_another_issuer_is_named_beside_the_configured_one(iss: object, shown: str) -> None:
    assert refusal_of(judged(forged(iss=iss))) == (
        "issuer",
        "invalid_grant",
        f"The issuer in ID Token {shown} does not match the expected one in config: {ISSUER}.",
    )


@pytest.mark.parametrize(
    ("aud", "shown"),
    [(None, ""), ([], ""), ("orders-api", "orders-api"), (["a", "b"], "a, b"), (AUDIENCE + "/", AUDIENCE + "/")],
)
def test_an_audience_that_is_not_allowed_is_shown(aud: object, shown: str) -> None:
    judgement = judged(forged(aud=aud))
    assert refusal_of(judgement) == (
        "audience",
        "invalid_grant",
        f"The audience in ID Token [{shown}] does not match the expected audience.",
    )


@pytest.mark.parametrize("aud", [7, [7], {"a": 1}])
def test_an_audience_of_another_type_is_not_parsed(aud: object) -> None:
    assert refusal_of(judged(forged(aud=aud))) == ("audience", "invalid_grant", PARSE)


@pytest.mark.parametrize("aud", [AUDIENCE, [AUDIENCE], "https:" + AUDIENCE, ["other", "https:" + AUDIENCE]])
def test_the_default_audience_is_the_providers_name_with_and_without_https(aud: object) -> None:
    assert judged(forged(aud=aud)).refusal is None


def test_a_list_of_audiences_switches_the_default_off() -> None:
    provider = replace(PROVIDER, allowed_audiences=("sts.example", "other"))
    assert judged(forged(aud="sts.example"), provider).refusal is None
    for audience in (AUDIENCE, "https:" + AUDIENCE):
        assert refusal_of(judged(forged(aud=audience), provider))[0] == "audience"


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        pytest.param({"exp": NOW_S - 60}, str(NOW_S), id="expired"),
        pytest.param({"exp": None}, str(NOW_S), id="no-exp"),
        pytest.param({"iat": None}, "null", id="no-iat"),
        pytest.param({"iat": NOW_S + 61}, str(NOW_S + 61), id="issued-in-the-future"),
        pytest.param({"nbf": NOW_S + 61}, str(NOW_S), id="not-yet-valid"),
    ],
)
def test_a_token_outside_its_time_is_stale(changed: dict[str, Any], shown: str) -> None:
    assert refusal_of(judged(forged(**changed))) == ("lifetime", "invalid_grant", f"ID Token issued at {shown} is stale to sign-in.")


@pytest.mark.parametrize("changed", [{"exp": str(NOW_S + 60)}, {"iat": True}, {"nbf": "x"}])
def test_a_date_that_is_no_number_is_not_parsed(changed: dict[str, Any]) -> None:
    assert refusal_of(judged(forged(**changed))) == ("lifetime", "invalid_grant", PARSE)


def test_the_clocks_may_differ_by_60_seconds_both_ways() -> None:
    assert judged(forged(iat=NOW_S + 60, nbf=NOW_S + 60)).refusal is None
    late = judged(forged(exp=NOW_S - 59))
    assert [check.name for check in late.checks if not check.passed] == ["expiry"]  # judged good, but nothing is left to hand out


@pytest.mark.parametrize(("seconds", "warned"), [(48 * 3600 - 1, False), (48 * 3600, True), (11 * 365 * 86400, True)])
def test_48_hours_are_a_warning_unless_enforced(seconds: int, warned: bool) -> None:  # noqa: FBT001 - a table's column
    token = forged(exp=NOW_S + seconds)
    lenient = judged(token)
    assert lenient.refusal is None
    warnings = [check.warning for check in lenient.checks if check.warning]
    assert warnings == (["Google's reference demands less than 48 h; the real service has let longer ones pass."] if warned else [])
    strict = judged(token, enforce_48h=True)
    if warned:
        assert refusal_of(strict) == ("lifetime", "invalid_grant", f"ID Token issued at {NOW_S} is stale to sign-in.")
    else:
        assert strict.refusal is None


def raising(error: Exception) -> Callable[[str], NoReturn]:
    def keys(_: str) -> NoReturn:
        raise error

    return keys


@pytest.mark.parametrize("error", [UnreachableError("No answer."), UnexpectedAnswerError("Not a JWKS."), KeySetError("Not a JWKS.")])
def test_keys_that_cannot_be_had_are_a_connection_error(error: Exception) -> None:
    judgement = judge(forged(), PROVIDER, raising(error), NOW)
    assert refusal_of(judgement) == ("key", "invalid_grant", CONNECTING)


def test_keys_are_asked_for_by_the_providers_issuer() -> None:
    asked: list[str] = []

    def keys(issuer: str) -> KeySet:
        asked.append(issuer)
        return KEYS

    assert judge(forged(), PROVIDER, keys, NOW).refusal is None
    assert asked == [ISSUER]


@pytest.mark.parametrize("header", [{"alg": "ES256", "kid": "unknown"}, {"alg": "ES256"}], ids=["unknown-kid", "no-kid"])
def test_a_key_that_is_not_known_is_a_connection_error(header: dict[str, str]) -> None:
    assert refusal_of(judged(forged(header=header))) == ("key", "invalid_grant", CONNECTING)


def test_no_kid_is_refused_even_where_there_is_one_key() -> None:
    alone = KeySet.of([KEYS.find("ec-1")])
    assert refusal_of(judge(forged(header={"alg": "ES256"}), PROVIDER, lambda _: alone, NOW))[0] == "key"


def test_inlined_keys_are_used_and_nothing_is_fetched() -> None:
    inlined = replace(PROVIDER, jwks_json=KEYS.canonical_json())
    judgement = judge(forged(), inlined, raising(AssertionError("fetched")), NOW)
    assert judgement.refusal is None
    assert "Key 'ec-1' is one of the provider's jwksJson." in [check.detail for check in judgement.checks]


def test_an_inlined_key_of_another_kind_cannot_be_used() -> None:
    p384 = ec.generate_private_key(ec.SECP384R1()).public_key().public_numbers()
    entry = f'{{"kty":"EC","crv":"P-384","kid":"ec-1","x":"{p384.x}","y":"{p384.y}"}}'
    inlined = replace(PROVIDER, jwks_json=f'{{"keys":[{entry}]}}')
    assert refusal_of(judged(forged(), inlined)) == ("key", "invalid_grant", CONNECTING)


@pytest.mark.parametrize(
    "token",
    [
        forged(ec_signer("ec-9"), {"alg": "ES256", "kid": "ec-1"}),
        forged(rsa_signer(), {"alg": "ES256", "kid": "rsa-1"}),
        forged()[:-86] + "A" * 86,
    ],
    ids=["another-key", "another-algorithm", "another-signature"],
)
def test_a_wrong_signature_for_a_known_key_is_said_to_be_one(token: str) -> None:
    assert refusal_of(judged(token)) == ("signature", "invalid_grant", SIGNATURE)


def mapping(**expressions: str) -> Provider:
    names = {name.replace("__", "."): text for name, text in expressions.items()}
    return replace(PROVIDER, attribute_mapping={"google.subject": "assertion.sub", **names}, attribute_condition=None)


@pytest.mark.parametrize("expression", ["assertion.iat", "assertion['kubernetes.io']", "assertion.aud", "true", "[1]"])
def test_a_mapped_attribute_must_be_a_string(expression: str) -> None:
    assert refusal_of(judged(forged(), mapping(attribute__x=expression))) == (
        "mapping",
        "invalid_request",
        "The mapped attribute 'attribute.x' must be of type STRING",
    )


@pytest.mark.parametrize("expression", ["assertion.missing", "assertion.sub.split(':')[9]", "not CEL ("])
def test_an_attribute_without_a_value_is_refused(expression: str) -> None:
    assert refusal_of(judged(forged(), mapping(attribute__x=expression)))[:2] == ("mapping", "invalid_request")


@pytest.mark.parametrize("provider", [replace(PROVIDER, attribute_mapping={}, attribute_condition=None), mapping(google__subject="''")])
def test_an_empty_subject_is_refused(provider: Provider) -> None:
    assert refusal_of(judged(forged(), provider)) == (
        "mapping",
        "invalid_request",
        "The mapped attribute 'google.subject' must be of type STRING",
    )


def test_without_sub_a_provider_with_a_condition_answers_as_if_it_were_false() -> None:
    assert refusal_of(judged(forged(sub=None))) == ("mapping", "unauthorized_client", CONDITION)
    assert refusal_of(judged(forged(sub=None), mapping())) == (
        "mapping",
        "invalid_request",
        "The mapped attribute 'google.subject' must be of type STRING",
    )


@pytest.mark.parametrize(("subject", "accepted"), [("s" * 127, True), ("s" * 128, False), ("é" * 63, True), ("é" * 64, False)])
def test_a_subject_has_127_bytes_not_characters(subject: str, accepted: bool) -> None:  # noqa: FBT001 - a table's column
    judgement = judged(forged(sub=subject), mapping())
    if accepted:
        assert judgement.subject == subject
    else:
        assert refusal_of(judgement) == ("mapping", "invalid_request", SUBJECT_SIZE)
        assert judgement.checks[-1].detail == "google.subject has 128 bytes; 127 are allowed."


@pytest.mark.parametrize(("size", "accepted"), [(8192 - len(SUBJECT), True), (8193 - len(SUBJECT), False)])
def test_all_attributes_together_have_8_kb(size: int, accepted: bool) -> None:  # noqa: FBT001 - a table's column
    judgement = judged(forged(big="b" * size), mapping(attribute__big="assertion.big"))
    if accepted:
        assert judgement.refusal is None
    else:
        assert refusal_of(judgement) == ("mapping", "invalid_request", TOTAL_SIZE)


def test_groups_are_a_list_of_strings() -> None:
    provider = mapping(google__groups="assertion.groups")
    assert judged(forged(groups=["a", "b"]), provider).groups == ("a", "b")
    for groups in ("a", ["a", 1], [["a"]], 1):
        assert refusal_of(judged(forged(groups=groups), provider)) == (
            "mapping",
            "invalid_request",
            "The mapped attribute 'google.groups' must be of type LIST<STRING>",
        )


def test_a_claim_with_a_nul_is_not_cut_to_somebody_elses_name() -> None:
    assert refusal_of(judged(forged(sub=SUBJECT + "\0x"), mapping()))[0] == "mapping"


@pytest.mark.parametrize(
    "condition",
    [
        "attribute.namespace == 'prod'",
        "google.subject == 'x'",
        "'a' in google.groups",
        "assertion.missing == 'x'",
        "assertion.sub",
        "'true'",
        "not CEL (",
    ],
)
def test_a_condition_that_is_not_true_rejects(condition: str) -> None:
    provider = replace(PROVIDER, attribute_condition=condition)
    assert refusal_of(judged(forged(), provider)) == ("condition", "unauthorized_client", CONDITION)


def test_a_condition_sees_claims_groups_and_attributes() -> None:
    provider = replace(
        PROVIDER,
        attribute_mapping={"google.subject": "assertion.sub", "google.groups": "assertion.groups", "attribute.ns": "'shop'"},
        attribute_condition="'b' in google.groups && google.subject.endsWith(':checkout') && attribute.ns == 'shop' && assertion.jti != ''",
    )
    assert judged(forged(groups=["a", "b"]), provider).refusal is None


@pytest.mark.parametrize("condition", [None, ""])
def test_without_a_condition_every_good_token_is_accepted(condition: str | None) -> None:
    assert judged(forged(), replace(PROVIDER, attribute_condition=condition)).refusal is None


@pytest.mark.parametrize(("left", "expires_in"), [(86400, 3598), (3600, 3598), (3599, 3597), (600, 598), (3, 1)])
def test_a_federated_token_lives_as_long_as_the_subject_token_but_no_hour(left: int, expires_in: int) -> None:
    assert judged(forged(exp=NOW_S + left)).expires_in_s == expires_in


def test_a_token_with_two_seconds_left_has_no_expires_in() -> None:
    judgement = judged(forged(exp=NOW_S + 2))
    assert judgement.refusal is None
    assert judgement.subject == SUBJECT
    assert judgement.expires_in_s is None


@pytest.mark.parametrize("left", [1, 0, -30])
def test_a_token_with_one_second_left_is_an_internal_error(left: int) -> None:
    judgement = judged(forged(exp=NOW_S + left))
    assert refusal_of(judgement) == ("expiry", "server_error", "Internal error encountered.")
    assert judgement.refusal == Refusal("server_error", "Internal error encountered.", http_status=500)


def test_every_other_refusal_is_http_400() -> None:
    for token in ("junk", forged(iss="x"), forged(exp=0)):
        refusal = judged(token).refusal
        assert refusal is not None
        assert refusal.http_status == 400


def test_the_moment_of_judging_is_the_callers() -> None:
    token = forged()
    assert judge(token, PROVIDER, lambda _: KEYS, NOW + timedelta(hours=2)).refusal is not None
    assert judge(token, PROVIDER, lambda _: KEYS, NOW + timedelta(minutes=30)).expires_in_s == 1798


def test_a_trace_holds_no_token() -> None:
    token = forged()
    for judgement in (judged(token), judged(token[:-3] + "AAA"), judged(token + "=")):
        text = repr(judgement)
        assert not any(part in text for part in token.split("."))


def test_a_trace_says_what_was_compared() -> None:
    def details(token: str, provider: Provider = PROVIDER) -> dict[str, str]:
        return {check.name: check.detail for check in judged(token, provider).checks}

    assert details(forged()) == {
        "provider": "Pool and provider are active.",
        "parse": "A signed JWT: alg ES256, kid 'ec-1'.",
        "issuer": f"iss is '{ISSUER}', the provider's issuerUri.",
        "audience": f"aud holds '{AUDIENCE}', the default: the provider's own name.",
        "lifetime": "exp is 3600 s after iat, and now is between them (60 s of skew).",
        "key": "Key 'ec-1' is one of the issuer's published keys.",
        "signature": "The signature is one of that key, ES256.",
        "mapping": f"google.subject = '{SUBJECT}'; attribute.namespace = 'shop'.",
        "condition": f"{PROVIDER.attribute_condition} is true.",
        "expiry": "The federated token lives 3598 s.",
    }
    other = replace(mapping(attribute__x="assertion.aud"), allowed_audiences=(AUDIENCE,))
    assert details(forged(), other)["audience"] == f"aud holds '{AUDIENCE}'."
    assert details(forged(), other)["mapping"] == "attribute.x is a list of other things."
    assert details(forged(), mapping(attribute__x="assertion.iat"))["mapping"] == "attribute.x is int."
    assert details(forged(), mapping())["condition"] == "The provider has none: every token that came this far is accepted."
    assert details(forged(iat=None))["lifetime"] == "The token has no iat."
    assert details(forged(exp=None))["lifetime"] == "The token has no exp."
    assert details(forged(iss=["x"]))["issuer"] == f"iss is ['x']; the provider's issuerUri is '{ISSUER}'."
