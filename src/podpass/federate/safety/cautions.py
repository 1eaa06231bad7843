# SPDX-License-Identifier: Apache-2.0
"""What podpass does and warns about: all that is legal and unwise. What it refuses: `refusals`. None of these rules asks the network."""

from collections.abc import Iterator
from datetime import timedelta

from podpass.config.federation import Federation, Workload
from podpass.federate.desired import principals
from podpass.federate.desired.desired import declared_issuer, is_managed, keys_mode
from podpass.federate.desired.principals import Claims
from podpass.federate.model.plan import Caution
from podpass.federate.model.resource import Kind
from podpass.federate.safety.situation import Situation
from podpass.names import ServiceAccountRef
from podpass.verify.jwks import KeySet

# A stolen token is good for so long; more is seldom meant.
LONG_TOKEN = timedelta(hours=6)


def of(situation: Situation) -> Iterator[Caution]:
    """Return what is allowed and worth knowing of a file and the two sides."""
    if situation.under_way:
        yield situation.under_way.caution()
    else:
        yield from _issuer_cautions(situation)
        yield from _provider_cautions(situation)
    yield from _key_cautions(situation)
    yield from _condition_cautions(situation.federation)
    yield from _broad_members(situation)
    for selection in situation.federation.selections:
        yield from _long_token(f"what {selection.path} selects", selection.pattern)
    for workload in situation.federation.workloads:
        account = workload.service_account
        if not workload.selected_by:
            yield from _long_token(str(workload), workload)
        if account not in situation.facts.account_uids and not workload.is_namespace:
            create = f"kubectl -n {account.namespace} create serviceaccount {account.name}"
            yield Caution("account-missing", f"The Kubernetes account {account} is not there yet. Run `{create}`.")


def _long_token(whose: str, workload: Workload) -> Iterator[Caution]:
    if workload.token.expiration > LONG_TOKEN:
        hours = f"{workload.token.expiration.total_seconds() / 3600:g} h"
        yield Caution("long-token", f"The token of {whose} lives {hours}; kubelet renews it, so 1 h is enough.")


def _issuer_cautions(situation: Situation) -> Iterator[Caution]:
    declared, current = declared_issuer(situation.federation, situation.facts).url, situation.facts.issuer
    if declared != current:
        is_known = f"{Kind.PROVIDER}/{situation.federation.google.provider.id}" in situation.receipt.entries
        safely = (
            "To move without a refused token, give google.provider.id another id and run `podpass rotate --issuer`."
            if is_known
            else "Publishing first and switching then is the safe order; `podpass export --format control-plane` writes the steps."
        )
        yield Caution(
            "issuer-differs",
            f"Tokens of this cluster carry the issuer {current!r} now; Google is told {declared!r}. Exchanges will be refused until the "
            f"API server signs with that issuer. {safely}",
        )


def _provider_cautions(situation: Situation) -> Iterator[Caution]:
    """Warn where the file names another provider than before: what the pods have in hand is for the former one."""
    declared = declared_issuer(situation.federation, situation.facts).url
    for other in situation.others:
        if situation.is_own(other):
            safely = (
                "`podpass rotate --issuer` makes this change without a refused token: do not apply it."
                if other.issuer != declared
                else "Keep the former id: the issuer is the same."
            )
            yield Caution(
                "provider-replaced",
                f"The provider of this federation was {other.provider_id}; the file names {situation.federation.google.provider.id}. Pods "
                f"have tokens and credential configurations for the former one, which Google refuses when it is deleted. {safely}",
            )


def _key_cautions(situation: Situation) -> Iterator[Caution]:
    issuer = declared_issuer(situation.federation, situation.facts)
    if is_managed(issuer) and keys_mode(situation.federation, issuer) == "inline":
        yield Caution(
            "managed-keys-inline",
            f"The keys of {issuer} are rotated by its owner; a copy on the provider grows old. Use keys: discovery.",
        )
    for skipped in KeySet.parse(situation.facts.jwks).skipped:
        yield Caution("key-skipped", f"The cluster publishes a key that Google cannot use: {skipped}")


def _condition_cautions(federation: Federation) -> Iterator[Caution]:
    if federation.google.attribute_condition is None:
        yield Caution("no-condition", "The provider has no attribute condition: every account of the cluster may enter the pool.")


def _broad_members(situation: Situation) -> Iterator[Caution]:
    mapping = situation.federation.google.attribute_mapping
    told: set[str] = set()
    for workload in situation.federation.workloads:
        account = workload.service_account
        if workload.is_namespace or workload.selected_by in told:
            continue
        attribute = principals.attribute_of(workload)
        mine = principals.value(mapping, attribute, principals.claims_of(account, situation.facts))
        for probe, whom in _strangers(account):
            if mine == principals.value(mapping, attribute, Claims(probe, situation.facts.issuer, uid=principals.NO_UID)):
                yield Caution(
                    "broad-member",
                    f"{attribute} is the same for {whom} that enters the pool, so the roles of {account} are theirs too.",
                )
                told |= {workload.selected_by} - {""}
                break


def _strangers(account: ServiceAccountRef) -> tuple[tuple[ServiceAccountRef, str], ...]:
    """Return two accounts that are not declared, and whom each stands for."""
    name = "podpass-probe"
    return (
        (ServiceAccountRef(name, name), "every account"),
        (ServiceAccountRef(account.namespace, name), f"every account of namespace {account.namespace}"),
    )
