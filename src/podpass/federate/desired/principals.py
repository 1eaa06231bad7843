# SPDX-License-Identifier: Apache-2.0
"""Which principal a workload will be: the mapping applied to the claims that its tokens will have. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from podpass.config.federation import Federation, Workload
from podpass.errors import ConfigError, EvaluationError, ExpressionError
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.names import PoolName, Principal, ServiceAccountRef
from podpass.wif.mapping import SUBJECT, compile_mapping

NO_UID: Final = "00000000-0000-4000-8000-000000000000"
"""Stands for the uid of an account of another cluster: no two accounts share one."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of an account's token, as far as a mapping may use them before there is a token.

    Attributes:
        account: The Kubernetes account.
        issuer: The `iss` of its tokens.
        uid: The account's uid; None while it is not known.
    """

    account: ServiceAccountRef
    issuer: str
    uid: str | None = None

    def members(self) -> dict[str, object]:
        """Return them as a token has them."""
        account: dict[str, str] = {"name": self.account.name, **({"uid": self.uid} if self.uid else {})}
        return {
            "iss": self.issuer,
            "sub": self.account.subject,
            "kubernetes.io": {"namespace": self.account.namespace, "serviceaccount": account},
        }


@dataclass(frozen=True, slots=True)
class OtherProvider:
    """Another provider of the same pool.

    Attributes:
        provider_id: Its id.
        issuer: `oidc.issuerUri`; empty for one that is not OIDC.
        attribute_mapping: Its mapping.
        mark: Who signed it.
        kids: The ids of the keys that were given to it inline.
    """

    provider_id: str
    issuer: str
    attribute_mapping: Mapping[str, str] = field(default_factory=dict)
    mark: Mark | None = None
    kids: frozenset[str] = frozenset()


def claims_of(account: ServiceAccountRef, facts: Facts) -> Claims:
    """Return the claims of an account of this cluster."""
    return Claims(account, facts.issuer, facts.account_uids.get(account))


def attribute_of(workload: Workload) -> str:
    """Return the attribute by which the workload is bound: `google.subject`, or the one that `member` names."""
    return SUBJECT if workload.member == "subject" else workload.member


def value(mapping: Mapping[str, str], attribute: str, claims: Claims) -> str | None:
    """Return what a mapping makes of claims; None where it has no text for them."""
    try:
        result = compile_mapping(mapping[attribute]).evaluate({"assertion": claims.members()})
    except (KeyError, EvaluationError, ExpressionError):
        return None
    return result if isinstance(result, str) and result else None


def member_of(federation: Federation, facts: Facts, workload: Workload) -> str:
    """Return the workload's member in IAM policies.

    Raises:
        ConfigError: The mapping gives its tokens no such attribute, or uses a uid that is not known yet.
    """
    attribute = attribute_of(workload)
    mapped = value(federation.google.attribute_mapping, attribute, claims_of(workload.service_account, facts))
    if mapped is None:
        account = workload.service_account
        missing = (
            "" if account in facts.account_uids else f" The account is not there yet, so its uid is not known: create it first ({account})."
        )
        raise ConfigError(
            f"{attribute} has no value for the workload {account}.",
            f"The mapping is {federation.google.attribute_mapping.get(attribute)!r}.{missing}",
            "Map a claim that every token of a Kubernetes account has, such as assertion.sub.",
            code="config.unmapped",
        )
    pool = PoolName(facts.project_number, federation.google.pool.id)
    return str(Principal(pool, "subject" if attribute == SUBJECT else attribute, mapped))
