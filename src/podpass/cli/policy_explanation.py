# SPDX-License-Identifier: Apache-2.0
"""`podpass token explain --policy`: what a guard makes of a token."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click

from podpass.cli.failure import FAILED
from podpass.cli.subject_token import cluster_keys
from podpass.cli.wrapping import wrap
from podpass.config.federation import ClusterSettings
from podpass.discovery.key_ring import KeyRing
from podpass.discovery.static import StaticKeys
from podpass.errors import ConfigError
from podpass.guard.explanation import Explanation, Opinion, explain
from podpass.guard.policy_file import read_policy
from podpass.guard.ports import IssuerKeys
from podpass.policy import InvokerPolicy, Mode, TrustedIssuer
from podpass.verify import KeySet, parse

_SIGNS: Final = {"passed": ("✓", "green"), "failed": ("✗", "red"), "not reached": ("-", "")}
_SIGN, _INDENT = 4, 20


class _Keys:
    """The keys of the issuer that a token names; no other issuer is asked."""

    def __init__(self, url: object, jwks: Path | None) -> None:
        self._url = url
        self._jwks = jwks
        self._ring = KeyRing(background=False)

    def keys_of(self, issuer: TrustedIssuer) -> IssuerKeys:
        if issuer.issuer.url != self._url:
            return StaticKeys(KeySet({}))
        if self._jwks:
            return StaticKeys.read(self._jwks, issuer.algorithms)
        if issuer.keys == "apiserver":
            return StaticKeys(KeySet.parse(_of_the_cluster(), algorithms=issuer.algorithms))
        return self._ring.keys_of(issuer)


def _of_the_cluster() -> bytes | str:
    """Ask the cluster of the kubeconfig, in place of the one that the guard runs in."""
    try:
        return cluster_keys(ClusterSettings())
    except ConfigError as error:
        raise ConfigError(error.what, error.why, "Set KUBECONFIG, or name the keys: --jwks FILE.", code=error.full_code) from error


def show(token: str, policy: Path, jwks: Path | None, *, as_json: bool) -> None:
    """Print what a guard with this policy makes of a token; exit 1 where it, or every rule, refuses it."""
    read = read_policy(policy)
    explanation = explain(token, read, _Keys(parse(token).payload.get("iss"), jwks), datetime.now(UTC))
    if as_json:
        click.echo(json.dumps(_as_json(read, explanation), indent=2))
    else:
        _print(read, explanation)
    if not explanation.is_admitted:
        click.get_current_context().exit(FAILED)


def _print(policy: InvokerPolicy, explanation: Explanation) -> None:
    for check in explanation.checks:
        _line(check.state, check.name, check.detail or check.state)
    if error := explanation.error:
        click.echo("\n" + wrap(f"The guard refuses it: {error.full_code}."))
        if error.next_step:
            click.echo(wrap(f"Next: {error.next_step}"))
        return
    click.echo("\n" + wrap(f"The caller is {explanation.identity}. Of the rules of {policy.name}:"))
    for opinion in explanation.opinions:
        _line("passed" if opinion.refusal is None else "failed", opinion.rule.name, f"{_place(opinion)}. {opinion.detail}")
    if not explanation.opinions:
        click.echo("There is none, so every request is denied.")
    if policy.mode is Mode.AUDIT:
        click.echo("\n" + wrap("The policy only audits: whom its rules refuse comes in all the same, and the log says so."))


def _line(state: str, name: str, detail: str) -> None:
    sign, colour = _SIGNS[state]
    click.secho(f"  {sign} ", fg=colour or None, nl=False)
    click.echo(wrap(f"{name:<15} {detail}", first=_SIGN, rest=_INDENT))


def _place(opinion: Opinion) -> str:
    methods = ", ".join(sorted(opinion.rule.methods)) if opinion.rule.methods else "every method"
    return f"{methods} on {', '.join(map(str, opinion.rule.paths))}"


def _as_json(policy: InvokerPolicy, explanation: Explanation) -> dict[str, object]:
    error = explanation.error
    return {
        "version": 1,
        "policy": policy.name,
        "mode": policy.mode.value,
        "checks": [{"name": check.name, "state": check.state, "detail": check.detail} for check in explanation.checks],
        "refusal": {"code": error.full_code, "what": error.what, "why": error.why, "next": error.next_step} if error else None,
        "caller": str(explanation.identity) if explanation.identity else None,
        "rules": [
            {"name": one.rule.name, "admits": one.refusal is None, "code": one.refusal.value if one.refusal else None, "detail": one.detail}
            for one in explanation.opinions
        ],
    }
