# SPDX-License-Identifier: Apache-2.0
"""Judge a token as Google would by a federation file, without asking anybody.

What the file leaves to the cluster (`issuer.url: keep`) or to Google (the project's number) is taken from the token, and said.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from podpass.config.federation import Federation, Workload
from podpass.errors import ConfigError
from podpass.federate.desired import condition
from podpass.names import PoolName, ProviderName, ServiceAccountRef
from podpass.names.pool import PROVIDER_IN_AUDIENCE
from podpass.verify import KeySet, UnverifiedClaims, parse
from podpass.verify.claims import read_audiences
from podpass.wif import Judgement, Provider, judge_exchange

_UNKNOWN_NUMBER = "0"


@dataclass(frozen=True, slots=True)
class Explanation:
    """A judgement, and what had to be assumed for it."""

    judgement: Judgement
    provider: Provider
    assumptions: tuple[str, ...]


def explain(token: str, federation: Federation, keys: KeySet, now: datetime, *, project_number: str | None = None) -> Explanation:
    """Judge a subject token for the provider that `federation` declares.

    Args:
        token: The subject token.
        federation: The file.
        keys: The issuer's public keys.
        now: Moment of judging, timezone-aware.
        project_number: The number of the file's project; None takes it from the token's audience.

    Raises:
        MalformedTokenError: The token has no strict form, so that nothing can be taken from it.
    """
    claims = parse(token).payload
    selection = _selection_of(federation, claims)
    if selection:
        federation = replace(federation, workloads=(*federation.workloads, selection))
    number = project_number or _number_in(claims)
    provider = _provider(federation, claims, number or _UNKNOWN_NUMBER)
    judgement = judge_exchange(provider.name.audience, token, lambda _: provider, lambda _: keys, now)
    assumptions = []
    if selection:
        assumptions.append(
            f"The file selects accounts by labels, which only the cluster knows; {selection} is taken for one that {selection.path} finds."
        )
    if federation.issuer.url == "keep":
        assumptions.append("The file keeps the cluster's issuer, so the token's own is taken for it.")
    if federation.google.provider.existing:
        assumptions.append("Somebody else keeps the provider, so its attribute condition is not known here and is taken for none.")
    if not project_number:
        project = federation.google.project
        assumptions.append(
            f"The number of project {project} is taken from the token's audience: {number}."
            if number
            else f"The number of project {project} is not known, so it stands as {_UNKNOWN_NUMBER} below; --project-number names it."
        )
    return Explanation(judgement, provider, tuple(assumptions))


def _provider(federation: Federation, claims: UnverifiedClaims, project_number: str) -> Provider:
    google, url = federation.google, federation.issuer.url
    return Provider(
        name=ProviderName(PoolName(project_number, google.pool.id), google.provider.id),
        issuer_uri=str(claims.get("iss")) if url == "keep" else url.url,
        attribute_mapping=google.attribute_mapping,
        attribute_condition=condition.of(federation) or None,
    )


def _selection_of(federation: Federation, claims: UnverifiedClaims) -> Workload | None:
    """Return the workload that the token's account is if a selector finds it; None where the file names it, or no selector looks there."""
    known = federation.workloads
    try:
        account = ServiceAccountRef.parse(str(claims.get("sub")))
    except ConfigError:
        return None
    if any(account == one.service_account or (one.is_namespace and account.namespace == one.service_account.namespace) for one in known):
        return None
    looks = (one for one in federation.selections if not one.selector.namespaces or account.namespace in one.selector.namespaces)
    return next((one.workload(account) for one in looks), None)


def _number_in(claims: UnverifiedClaims) -> str | None:
    matches = map(PROVIDER_IN_AUDIENCE.fullmatch, read_audiences(claims) if claims.get("aud") is not None else ())
    return next((match["number"] for match in matches if match), None)
