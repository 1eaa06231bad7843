# SPDX-License-Identifier: Apache-2.0
"""Whether a move to another issuer can begin, and what it begins with. Every reason against it is here; nothing was changed yet. Pure."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final, NoReturn

from podpass.config.federation import BucketSettings, Federation
from podpass.errors import ConfigError, PlanError
from podpass.federate.desired import condition, desired, principals
from podpass.federate.model.facts import Facts
from podpass.federate.model.resource import JSON, Kind, Observed, kind_of
from podpass.federate.planning.prepared import Prepared
from podpass.federate.records.issuer_move import IssuerMove, Standing
from podpass.federate.rotation.gates import answered
from podpass.federate.rotation.servers import ControlPlane

_ISSUER_IN: Final = re.compile(r"""assertion\s*(\.\s*iss\b|\[\s*['"]iss['"]\s*\])""")


def begin(prepared: Prepared, longest: timedelta, *, is_abrupt: bool) -> IssuerMove:
    """Return the move from what stands to what the file asks for.

    Args:
        prepared: The plan of the file with the issuer and the provider to come, for what was seen.
        longest: How long a token lives at most.
        is_abrupt: The API servers can be told one issuer at a time.

    Raises:
        ConfigError: The file asks for no move, or for one that cannot be made so.
        PlanError: What stands is not fit to be moved.
    """
    federation = prepared.federation
    assert prepared.facts is not None
    assert federation is not None
    _check_issuer(federation, prepared.facts)
    coming = desired.standing(federation, prepared.facts)
    former = _former(prepared, coming)
    _check_coming(prepared, coming)
    _check_same(federation, prepared, former, coming)
    return IssuerMove.begin(federation.google.pool.id, former, coming, longest, is_abrupt=is_abrupt)


def check_servers(move: IssuerMove, plane: ControlPlane) -> None:
    """Refuse to begin while the API servers differ, or are not what the move begins with.

    Raises:
        PlanError: One is silent, or they do not agree.
    """
    if plane.silent:
        raise PlanError(
            "Nothing was changed: not every API server answers.",
            " ".join(answered(plane)),
            "Bring it back first: it may sign with an issuer of its own.",
            code="plan.rotation",
        )
    if {server.issuer for server in plane.servers} != {move.former.issuer} or len({server.kids for server in plane.servers}) != 1:
        raise PlanError(
            "Nothing was changed: the API servers do not agree.",
            "; ".join(f"{server.name} signs with {server.issuer} and serves {len(server.kids)} keys" for server in plane.servers) + ".",
            f"Bring them in line first: all have to sign with {move.former.issuer}.",
            code="plan.rotation",
        )


def _check_issuer(federation: Federation, facts: Facts) -> None:
    url = federation.issuer.url
    if url == "keep":
        raise ConfigError(
            "The file keeps the cluster's issuer: there is nothing to move to.",
            "issuer.url is keep.",
            "Write the issuer to come into issuer.url, and another id into google.provider.id.",
            code="config.issuer-kept",
        )
    if url.url == facts.issuer:
        raise ConfigError(
            f"The cluster signs with {url} already.",
            "It is the issuer that the file names.",
            "Write the issuer to come into issuer.url, and another id into google.provider.id.",
            code="config.issuer-kept",
        )


def _former(prepared: Prepared, coming: Standing) -> Standing:
    """Return the provider that takes the cluster's tokens now."""
    assert prepared.facts is not None
    own = {address: prepared.observed[address] for address in prepared.receipt.entries if kind_of(address) is Kind.PROVIDER}
    trusting = {
        address.partition("/")[2]: seen
        for address, seen in own.items()
        if seen.status == "present"
        and seen.body.get("oidc.issuerUri") == prepared.facts.issuer
        and prepared.receipt.entries[address].identity.get("pool") == _pool(prepared)
    }
    if coming.provider in trusting:
        raise ConfigError(
            f"The provider {coming.provider} takes tokens of {prepared.facts.issuer}; a provider of Google's takes those of one issuer.",
            "While the control plane turns, tokens of both are in use; so two providers have to stand side by side.",
            f"Give google.provider.id another id, such as {_next_id(coming.provider)}. The pool stays, and with it principals and roles.",
            code="config.provider-id",
        )
    if not trusting:
        raise PlanError(
            "Nothing was changed: no provider of this federation takes the cluster's tokens now.",
            f"They carry {prepared.facts.issuer}; what podpass made in the pool {_pool(prepared)} is for another issuer, or there is none.",
            "Apply the file with the present issuer first. A cluster that nobody relies on yet needs no move.",
            code="plan.no-provider",
        )
    provider, seen = min(trusting.items())
    return _standing(provider, prepared.facts.issuer, seen, prepared)


def _standing(provider: str, issuer: str, seen: Observed, prepared: Prepared) -> Standing:
    if seen.body.get("oidc.jwksJson"):
        return Standing(provider, issuer, "inline")
    names = (address.partition("/")[2] for address in prepared.receipt.entries if kind_of(address) is Kind.BUCKET)
    bucket = next((one for one in map(BucketSettings, names) if one.url == issuer), None)
    return Standing(provider, issuer, "bucket" if bucket else "discovery", bucket)


def _check_coming(prepared: Prepared, coming: Standing) -> None:
    assert prepared.federation is not None
    if prepared.federation.google.provider.existing:
        raise ConfigError(
            f"The provider {coming.provider} is somebody else's to keep.",
            "A move makes the provider of the coming issuer, changes both while they stand side by side, and deletes the former one.",
            "Take google.provider.existing out of the file and give another id; or have whoever keeps the providers make the move.",
            code="config.provider-id",
        )
    seen = prepared.observed[f"{Kind.PROVIDER}/{coming.provider}"]
    if seen.status == "deleted":
        _refuse_id(coming.provider, "was deleted less than 30 days ago", "To bring it back, its pool has to be closed for a moment.")
    if seen.status == "present":
        _refuse_id(coming.provider, "exists already", "A move makes the provider of the coming issuer itself.")


def _refuse_id(provider: str, fault: str, why: str) -> NoReturn:
    raise ConfigError(
        f"The provider {provider} {fault}.",
        why,
        f"Give google.provider.id another id, such as {_next_id(provider)}.",
        code="config.provider-id",
    )


def _check_same(federation: Federation, prepared: Prepared, former: Standing, coming: Standing) -> None:
    """Refuse where a token would make another principal, or be let in by another rule, at the coming provider than at the former."""
    seen = prepared.observed[f"{Kind.PROVIDER}/{former.provider}"].body
    wanted: Mapping[str, JSON] = {
        "attributeMapping": dict(federation.google.attribute_mapping),
        "attributeCondition": condition.of(federation),
    }
    others = [name for name, value in wanted.items() if (seen.get(name) or "") != value]
    if others:
        raise PlanError(
            f"Nothing was changed: the file has another {' and '.join(others)} than provider {former.provider} has.",
            "During a move both providers have to make the same principals of the same accounts.",
            "Apply that change first, with the former issuer and provider in the file; then move.",
            code="plan.rotation",
        )
    assert prepared.facts is not None
    facts = {one.issuer: replace(prepared.facts, issuer=one.issuer) for one in (former, coming)}
    mapping = federation.google.attribute_mapping
    for workload in federation.workloads:
        claims = [principals.claims_of(workload.service_account, one) for one in facts.values()]
        if len({principals.value(mapping, principals.attribute_of(workload), one) for one in claims}) != 1:
            _refuse_rule("mapping", f"{workload.service_account} would be another principal with {coming.issuer}, without its roles.")
    if _ISSUER_IN.search(wanted["attributeCondition"]):
        _refuse_rule("condition", "It looks at assertion.iss, which is what changes.")


def _refuse_rule(what: str, why: str) -> NoReturn:
    raise PlanError(
        f"Nothing was changed: the attribute {what} depends on the issuer.",
        why,
        f"Write the {what} without assertion.iss, and apply it with the former issuer and provider first.",
        code="plan.rotation",
    )


def _pool(prepared: Prepared) -> str:
    return next(str(one.identity["pool"]) for one in prepared.plan.desired if one.kind is Kind.POOL)


def _next_id(provider: str) -> str:
    """Propose an id: cluster, cluster-2, cluster-3; Google takes 32 characters."""
    stem, _, number = provider.rpartition("-")
    return f"{stem}-{int(number) + 1}" if stem and number.isdecimal() else f"{provider[:30]}-2"
