# SPDX-License-Identifier: Apache-2.0
"""The policy file, declared: every key, its form, its default, and one sentence about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from podpass.config.document import document
from podpass.config.record import Field, Record
from podpass.config.shape import ListOf, MapOf, Text, Whole, one_of
from podpass.config.spelling import nearest
from podpass.config.texts import DNS_LABEL, present
from podpass.errors import ConfigError
from podpass.names import Audience, Issuer
from podpass.policy.condition import CelCondition, compile_condition
from podpass.policy.forms import Flag, Keys, KeysForm
from podpass.policy.members import FORMS, GroupMember, Member, parse_member
from podpass.policy.path_pattern import PathPattern
from podpass.policy.rules import METHODS
from podpass.verify.algorithms import ALGORITHMS, DEFAULT_ALGORITHMS
from podpass.verify.claims import SKEW_LIMIT
from podpass.verify.identity import IssuerKind

KIND: Final = "InvokerPolicy"
_LEAST_LEEWAY_S = 0


@dataclass(frozen=True, slots=True)
class IssuerDraft:
    """An issuer as written."""

    kind: IssuerKind | None = None
    url: Issuer | None = None
    keys: Keys = "discovery"
    api_audiences: tuple[Audience, ...] = ()
    algorithms: tuple[str, ...] = DEFAULT_ALGORITHMS


@dataclass(frozen=True, slots=True)
class RuleDraft:
    """A rule whose groups are not resolved yet."""

    path: str
    name: str | None = None
    paths: tuple[PathPattern, ...] = ()
    members: tuple[Member | GroupMember, ...] = ()
    methods: tuple[str, ...] | None = None
    condition: CelCondition | None = None
    token_review: bool = False


@dataclass(frozen=True, slots=True)
class SpecDraft:
    """`spec`, as far as it could be read."""

    audiences: tuple[Audience, ...] = ()
    issuers: Mapping[str, IssuerDraft] = field(default_factory=dict)
    groups: Mapping[str, tuple[Member | GroupMember, ...]] = field(default_factory=dict)
    rules: tuple[RuleDraft, ...] = ()
    mode: Literal["enforce", "audit"] = "enforce"
    leeway: int = 30
    several_audiences: bool = False
    serverless_authorization: bool = False
    group_resolver: Literal["cloudIdentity"] | None = None
    handler_token: Literal["whole", "unsigned", "none"] = "whole"  # noqa: S105 - a word of the file


def _name(text: str) -> str:
    if DNS_LABEL.fullmatch(text):
        return text
    why = "A name has 1 to 63 of a-z, 0-9 and '-', and begins and ends with a letter or digit."
    raise ConfigError(f"{text[:80]!r} cannot be a name here.", why, "", code="config.name")


def _method(text: str) -> str:
    if text in METHODS:
        return text
    meant = text.upper() if text.upper() in METHODS else nearest(text, list(METHODS))
    hint = f"Did you mean {meant}?" if meant else f"Write some of: {', '.join(METHODS)}; or leave methods out for all."
    raise ConfigError(f"{text[:80]!r} is not a method known here.", "", hint, code="config.method")


def _algorithm(text: str) -> str:
    if text in ALGORITHMS:
        return text
    meant = nearest(text, list(ALGORITHMS))
    why = "A shared secret is never a key here: whoever could verify with it could sign with it." if text.startswith("HS") else ""
    hint = f"Did you mean {meant}?" if meant and not why else f"Write some of: {', '.join(ALGORITHMS)}."
    raise ConfigError(f"podpass does not verify {text[:80]!r}.", why, hint, code="config.algorithm")


def _resolver(*, kind: str) -> str:
    return kind


_audience: Final = Text(Audience.parse, {"maxLength": 256, "examples": ["https://auth-server.example"]})
_free_name: Final = Text(_name, {"pattern": f"^{DNS_LABEL.pattern}$"})
_member: Final = Text(parse_member, {"examples": list(FORMS)})
_members: Final = ListOf(_member, at_least=1)

_ISSUER: Final = Record(
    IssuerDraft,
    (
        Field("kind", one_of("kubernetes", "google", "oidc"), "How its tokens are read.", required=True),
        Field("url", Text(Issuer.parse, {"pattern": "^https://"}), "Its `iss`, exactly; kind google has its own."),
        Field("keys", KeysForm(), "Where its keys come from: discovery, apiserver, or {file: PATH}.", default="discovery"),
        Field("apiAudiences", ListOf(_audience), "Audiences of its API server; a token that names one is refused."),
        Field(
            "algorithms",
            ListOf(Text(_algorithm, {"enum": list(ALGORITHMS)}), at_least=1),
            f"What it signs by; left out: {' and '.join(DEFAULT_ALGORITHMS)}.",
        ),
    ),
    is_partial=True,
)
_RULE: Final = Record(
    RuleDraft,
    (
        Field("name", _free_name, "For logs and metrics; left out: its place in the file."),
        Field(
            "paths", ListOf(Text(PathPattern.parse, {"pattern": "^/"}), at_least=1), "`*` is one segment, `**` any number.", required=True
        ),
        Field("methods", ListOf(Text(_method, {"enum": list(METHODS)}), at_least=1), "Left out: all of them."),
        Field("members", _members, f"Whom it admits: {', '.join(FORMS)}.", required=True),
        Field("condition", Text(compile_condition), "CEL over identity.*; an error is no."),
        Field("tokenReview", Flag(), "Ask the API server about the token as well.", default=False),
    ),
    is_partial=True,
    is_located=True,
)
_RESOLVER: Final = Record(_resolver, (Field("kind", one_of("cloudIdentity"), "Google's directory.", required=True),))
_SPEC: Final = Record(
    SpecDraft,
    (
        Field("audiences", ListOf(_audience, at_least=1), "What the service is called in the token's `aud`.", required=True),
        Field("issuers", MapOf(_name, _ISSUER), "Whose tokens are judged, by a name that members use."),
        Field("groups", MapOf(_name, _members), "Members under one name."),
        Field("rules", ListOf(_RULE), "Who is admitted where; a path without a rule is denied.", required=True),
        Field("mode", one_of("enforce", "audit"), "audit: what the rules refuse is logged, not denied.", default="enforce"),
        Field(
            "leeway",
            Whole(_LEAST_LEEWAY_S, int(SKEW_LIMIT.total_seconds()), "seconds"),
            "How far the clocks of issuer and service may differ.",
            default=30,
        ),
        Field("severalAudiences", Flag(), "Accept a token that is meant for others as well.", default=False),
        Field("serverlessAuthorization", Flag(), "Read X-Serverless-Authorization before Authorization.", default=False),
        Field("groupResolver", _RESOLVER, "Who is asked about Google groups (group:EMAIL)."),
        Field("handlerToken", one_of("whole", "unsigned", "none"), "What the handler sees of the token.", default="whole"),
    ),
    is_partial=True,
)
DOCUMENT: Final = document(KIND, Text(present), _SPEC, "The policy.")
