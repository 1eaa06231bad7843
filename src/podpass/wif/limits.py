# SPDX-License-Identifier: Apache-2.0
"""What Google's IAM API accepts in a pool, a provider and a service account, and what it answers to the rest.

Limits are those of the IAM v1 reference [R]. Of the texts only those marked [M] or [R] are Google's own; nobody has published the others,
so they say the rule in our words. [?]
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from podpass.cel import Expression, Kind
from podpass.errors import ConfigError, ExpressionError
from podpass.names.pool import check_id
from podpass.wif.jwks_rules import judge_jwks
from podpass.wif.mapping import CUSTOM_PREFIX, GROUPS, SUBJECT, compile_condition, compile_mapping

SUBJECT_LIMIT_BYTES = 127
ATTRIBUTES_LIMIT_BYTES = 8 * 1024
CONDITION_LIMIT_CHARS = 4096
EXPRESSION_LIMIT_CHARS = 2048
CUSTOM_ATTRIBUTES_LIMIT = 50
AUDIENCES_LIMIT = 10
AUDIENCE_LIMIT_CHARS = 256
DISPLAY_NAME_LIMIT_CHARS = 32
DESCRIPTION_LIMIT_CHARS = 256
ACCOUNT_DISPLAY_NAME_LIMIT_BYTES = 100
ACCOUNT_DESCRIPTION_LIMIT_BYTES = 256

_CUSTOM_ATTRIBUTE = re.compile(r"attribute\.[a-z0-9_]{1,100}")
_ACCOUNT_ID = re.compile(r"(?=.{6,30}\Z)[a-z]([-a-z0-9]*[a-z0-9])?")
_USES_VARIABLE = re.compile(r"\b(assertion|attribute|google)\b")
# [M] that there are such issuers, [K] which: everybody's pipelines have tokens of the same one.
_SHARED_ISSUERS = frozenset(
    {
        "token.actions.githubusercontent.com",
        "gitlab.com",
        "app.terraform.io",
        "agent.buildkite.com",
        "oidc.circleci.com",
        "vstoken.dev.azure.com",
    }
)
# [M] up to the address, [K] the address.
_CONDITION_MUST_REFERENCE = (
    "The attribute condition must reference one of the provider's claims. For more information, see"
    " https://cloud.google.com/iam/docs/workload-identity-federation-with-deployment-pipelines#conditions"
)


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule broken: the field by its name in the API, and the message of the 400 INVALID_ARGUMENT."""

    field: str
    message: str


def check_pool(pool_id: str, *, display_name: str = "", description: str = "") -> list[Violation]:
    """List what Google would refuse in a pool."""
    return [
        *_check_resource_id("workloadIdentityPoolId", "workload identity pool", pool_id),
        *_check_labels(display_name, description),
    ]


def check_provider(  # the fields of the API's message
    *,
    provider_id: str | None = None,
    issuer_uri: str,
    attribute_mapping: Mapping[str, str],
    attribute_condition: str | None = None,
    allowed_audiences: tuple[str, ...] = (),
    jwks_json: str | None = None,
    display_name: str = "",
    description: str = "",
) -> list[Violation]:
    """List what Google would refuse in an OIDC provider, the field that it would name first standing first.

    `provider_id` is None in an update, which cannot change it. Whether the issuer can be reached is not checked at creation. [M]
    """
    return [
        *(_check_resource_id("workloadIdentityPoolProviderId", "provider", provider_id) if provider_id is not None else ()),
        *_check_labels(display_name, description),
        *_check_issuer(issuer_uri),
        *_check_audiences(allowed_audiences),
        *_check_mapping(attribute_mapping),
        *_check_condition(attribute_condition, issuer_uri),
        *_check_jwks(jwks_json),
    ]


def check_service_account(account_id: str, *, display_name: str = "", description: str = "") -> list[Violation]:
    """List what Google would refuse in a service account."""
    found = []
    if not _ACCOUNT_ID.fullmatch(account_id):
        found.append(
            Violation("accountId", "The account ID must have 6 to 30 of a-z, 0-9 and '-', begin with a letter and not end in '-'.")
        )
    if len(display_name.encode("utf-8", "replace")) > ACCOUNT_DISPLAY_NAME_LIMIT_BYTES:
        found.append(Violation("displayName", f"The display name must have at most {ACCOUNT_DISPLAY_NAME_LIMIT_BYTES} bytes."))
    if len(description.encode("utf-8", "replace")) > ACCOUNT_DESCRIPTION_LIMIT_BYTES:
        found.append(Violation("description", f"The description must have at most {ACCOUNT_DESCRIPTION_LIMIT_BYTES} bytes."))
    return found


def _check_resource_id(field: str, kind: str, text: str) -> Iterator[Violation]:
    try:
        check_id(kind, text)
    except ConfigError as error:
        yield Violation(field, f"{error.what} {error.why}")


def _check_labels(display_name: str, description: str) -> Iterator[Violation]:
    if len(display_name) > DISPLAY_NAME_LIMIT_CHARS:
        yield Violation("displayName", f"The display name must have at most {DISPLAY_NAME_LIMIT_CHARS} characters.")
    if len(description) > DESCRIPTION_LIMIT_CHARS:
        yield Violation("description", f"The description must have at most {DESCRIPTION_LIMIT_CHARS} characters.")


def _check_issuer(issuer_uri: str) -> Iterator[Violation]:
    try:
        parts = urlsplit(issuer_uri)
        scheme, host = parts.scheme, parts.hostname
    except ValueError:
        scheme, host = "", None
    if scheme and scheme != "https":
        yield Violation("oidc.issuerUri", "Invalid OIDC issuer URI. The scheme must be https.")  # [M]
    elif not scheme or not host:
        yield Violation("oidc.issuerUri", "Invalid OIDC issuer URI.")  # [M] without a scheme, [?] without a host


def _check_audiences(audiences: tuple[str, ...]) -> Iterator[Violation]:
    if len(audiences) > AUDIENCES_LIMIT:
        yield Violation("oidc.allowedAudiences", f"At most {AUDIENCES_LIMIT} audiences are allowed.")
    for audience in audiences:
        if not 0 < len(audience) <= AUDIENCE_LIMIT_CHARS:
            yield Violation("oidc.allowedAudiences", f"An audience must have 1 to {AUDIENCE_LIMIT_CHARS} characters.")


def _check_mapping(mapping: Mapping[str, str]) -> Iterator[Violation]:
    if SUBJECT not in mapping:
        yield Violation("attributeMapping", f"The attribute mapping must contain the key {SUBJECT}.")
    if sum(name.startswith(CUSTOM_PREFIX) for name in mapping) > CUSTOM_ATTRIBUTES_LIMIT:
        yield Violation("attributeMapping", f"At most {CUSTOM_ATTRIBUTES_LIMIT} custom attributes are allowed.")
    for name, text in mapping.items():
        yield from _check_mapped(name, text)


def _check_mapped(name: str, text: str) -> Iterator[Violation]:
    if name not in {SUBJECT, GROUPS} and not _CUSTOM_ATTRIBUTE.fullmatch(name):
        allowed = f"{SUBJECT}, {GROUPS}, or attribute.NAME with 1 to 100 of a-z, 0-9 and '_'"
        yield Violation("attributeMapping", f"The attribute mapping key '{name}' is invalid. It must be {allowed}.")
    if len(text) > EXPRESSION_LIMIT_CHARS:
        yield Violation("attributeMapping", f"The expression of '{name}' must have at most {EXPRESSION_LIMIT_CHARS} characters.")
        return
    kind, word = (Kind.STRING_LIST, "LIST<STRING>") if name == GROUPS else (Kind.STRING, "STRING")
    try:
        expression = compile_mapping(text)
    except ExpressionError as error:
        yield Violation("attributeMapping", f"The expression of '{name}' is invalid: {error.why}")
        return
    if not expression.may_yield(kind):
        yield Violation("attributeMapping", f"The mapped attribute '{name}' must be of type {word}")  # [R] for STRING


def _check_condition(condition: str | None, issuer_uri: str) -> Iterator[Violation]:
    if condition is not None and len(condition) > CONDITION_LIMIT_CHARS:
        yield Violation("attributeCondition", f"The attribute condition must have at most {CONDITION_LIMIT_CHARS} characters.")
        return
    expression: Expression | None = None
    try:
        expression = compile_condition(condition) if condition else None
    except ExpressionError as error:
        yield Violation("attributeCondition", f"The attribute condition is invalid: {error.why}")
    if expression is not None and not expression.may_yield(Kind.BOOL):
        yield Violation("attributeCondition", "The attribute condition must be of type BOOL.")
    if _is_shared(issuer_uri) and not _USES_VARIABLE.search(condition or ""):
        yield Violation("attributeCondition", _CONDITION_MUST_REFERENCE)


def _is_shared(issuer_uri: str) -> bool:
    try:
        return urlsplit(issuer_uri).hostname in _SHARED_ISSUERS
    except ValueError:
        return False


def _check_jwks(jwks_json: str | None) -> Iterator[Violation]:
    message = judge_jwks(jwks_json) if jwks_json else None
    if message is not None:
        yield Violation("oidc.jwksJson", message)
