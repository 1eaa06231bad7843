# SPDX-License-Identifier: Apache-2.0
"""Conditions of rules: CEL over `identity.*`.

Each variable has a name with dots and a type, so that a misspelt one is found when the policy is loaded. A variable that an identity does
not have (the pod of a Google account) has no value; an expression that comes to need it has none either, and then the rule does not admit.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

from podpass.cel import Environment, Expression, Kind
from podpass.errors import ConfigError
from podpass.verify.identity import GoogleIdentity, Identity, KubernetesIdentity

VARIABLES: Final = {
    "identity.issuer": Kind.STRING,
    "identity.issuerUrl": Kind.STRING,
    "identity.kind": Kind.STRING,
    "identity.subject": Kind.STRING,
    "identity.audience": Kind.STRING,
    "identity.issuedAt": Kind.TIMESTAMP,
    "identity.expiresAt": Kind.TIMESTAMP,
    "identity.kubernetes.namespace": Kind.STRING,
    "identity.kubernetes.serviceAccount.name": Kind.STRING,
    "identity.kubernetes.serviceAccount.uid": Kind.STRING,
    "identity.kubernetes.pod.name": Kind.STRING,
    "identity.kubernetes.pod.uid": Kind.STRING,
    "identity.kubernetes.node.name": Kind.STRING,
    "identity.kubernetes.node.uid": Kind.STRING,
    "identity.google.email": Kind.STRING,
    "identity.google.emailVerified": Kind.BOOL,
    "identity.google.hostedDomain": Kind.STRING,
    "identity.claims": Kind.ANY_MAP,
}


@cache
def _environment() -> Environment:
    return Environment(VARIABLES)


class CelCondition:
    """A condition that was checked when it was read."""

    __slots__ = ("_expression", "_wants_claims")

    def __init__(self, expression: Expression) -> None:
        self._expression = expression
        self._wants_claims = "identity.claims" in expression.text

    def holds(self, identity: Identity | None) -> bool:
        """Tell whether it is true of an identity; an error, and any other value, is no."""
        if identity is None:
            return self._expression.is_true({})
        values = {f"identity.{name}": value for name, value in _values(identity) if value is not None}
        # One claim that CEL cannot hold would spoil every evaluation, so claims go only where they are asked for.
        if self._wants_claims:
            values["identity.claims"] = identity.claims
        return self._expression.is_true(values)

    def __repr__(self) -> str:
        return f"CelCondition({self._expression.text!r})"


def compile_condition(text: str) -> CelCondition:
    """Check a condition and make it ready.

    Raises:
        ConfigError: Not CEL, an unknown variable, or no yes-or-no question.
    """
    expression = _environment().compile(text)
    if not expression.may_yield(Kind.BOOL):
        raise ConfigError(
            f"{text!r} is not a condition.",
            f"It yields {expression.result}; a condition is true or false.",
            "Compare it with something.",
            code="config.condition",
        )
    return CelCondition(expression)


def _values(identity: Identity) -> Iterator[tuple[str, object]]:
    yield "issuer", identity.issuer_name
    yield "issuerUrl", identity.issuer
    yield "kind", identity.kind
    yield "subject", identity.subject
    yield "audience", identity.audience
    yield "issuedAt", identity.issued_at
    yield "expiresAt", identity.expires_at
    if identity.kubernetes:
        yield from _kubernetes(identity.kubernetes)
    if identity.google:
        yield from _google(identity.google)


def _kubernetes(workload: KubernetesIdentity) -> Iterator[tuple[str, object]]:
    yield "kubernetes.namespace", workload.service_account.namespace
    yield "kubernetes.serviceAccount.name", workload.service_account.name
    yield "kubernetes.serviceAccount.uid", workload.service_account_uid
    for kind, bound in (("pod", workload.pod), ("node", workload.node)):
        if bound:
            yield f"kubernetes.{kind}.name", bound.name
            yield f"kubernetes.{kind}.uid", bound.uid


def _google(account: GoogleIdentity) -> Iterator[tuple[str, object]]:
    yield "google.email", account.email
    yield "google.emailVerified", account.email_verified
    yield "google.hostedDomain", account.hosted_domain
