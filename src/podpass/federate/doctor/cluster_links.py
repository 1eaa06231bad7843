# SPDX-License-Identifier: Apache-2.0
"""The links that all workloads have in common: issuer, provider, keys."""

from collections.abc import Iterator
from typing import Final, Literal

from podpass.errors import KeySetError, NeighbourError, UnreachableError
from podpass.federate.doctor.link import Link, until_broken
from podpass.federate.doctor.patient import Patient
from podpass.federate.model.change import Action
from podpass.federate.model.resource import Kind
from podpass.verify import KeySet

_INLINE_KEYS: Final = "oidc.jwksJson"  # what is wrong with them is told by the link of the keys


def of_the_cluster(patient: Patient) -> Iterator[Link]:
    """Examine what all workloads have in common; ends after the first broken link."""
    yield from until_broken(lambda: _issuer(patient), lambda: _provider(patient), lambda: _keys(patient))


def _issuer(patient: Patient) -> Link:
    if patient.issuer.url != patient.facts.issuer:
        detail = f"Tokens carry {patient.facts.issuer}; the file declares {patient.issuer}."
        cure = (
            "Let the API server sign with the declared issuer: `podpass export --format control-plane` writes the steps. "
            "The keys are published first, by `podpass apply`."
        )
        return Link("issuer", "failed", detail, cure)
    return Link("issuer", "passed", str(patient.issuer))


def _provider(patient: Patient) -> Link:
    kinds: tuple[Literal[Kind.POOL], Literal[Kind.PROVIDER]] = (Kind.POOL, Kind.PROVIDER)
    for kind in kinds:
        seen, theirs = patient.seen(kind), patient.is_referred(kind)
        if seen.status != "present":
            return Link("provider", "failed", f"The {kind} is {seen.status}.", _bring_back(patient))
        if seen.body.get("disabled"):
            cure = "whoever keeps it can enable it." if theirs else "`podpass apply` enables it."
            return Link("provider", "failed", f"The {kind} is disabled.", f"Find out who disabled it, and why; {cure}")
    trusted = patient.provider().issuer_uri
    if patient.is_referred(Kind.PROVIDER) and trusted != patient.issuer.url:
        return Link("provider", "failed", f"It trusts {trusted}; the file declares {patient.issuer}.", "Ask whoever keeps it.")
    drift = patient.provider_drift() - {_INLINE_KEYS}
    if drift:
        fields = ", ".join(sorted(drift))
        return Link("provider", "failed", f"It is not as the file says: {fields}.", "Run `podpass plan`, then `podpass apply`.")
    return Link("provider", "passed", str(patient.provider().name.provider))


def _bring_back(patient: Patient) -> str:
    """Say what brings a pool or provider that is not there; `apply` asks before it undeletes what somebody else may have deleted."""
    asked = (one for one in patient.prepared.plan.changes if one.action is Action.UNDELETE and not one.known)
    return f"Run `podpass apply{''.join(f' --allow-undelete {one.address}' for one in asked)}`."


def _keys(patient: Patient) -> Link:
    where = "on the provider" if patient.provider().jwks_json else f"published by {patient.issuer}"
    try:
        known, own = patient.keys(), KeySet.parse(patient.facts.jwks)
    except (KeySetError, NeighbourError) as error:
        # What is in a bucket that podpass keeps, apply writes anew, whatever became of it.
        cure = "" if patient.federation.issuer.bucket and not isinstance(error, UnreachableError) else error.next_step
        return Link("keys", "failed", f"{error.what} {error.why}".strip(), cure or "Run `podpass apply`.")
    missing = [kid for kid in own.keys if kid not in known.keys]
    if missing:
        cure = "Give them to whoever keeps the provider: `kubectl get --raw /openid/v1/jwks`."
        cure = cure if patient.is_referred(Kind.PROVIDER) else "Run `podpass apply`."
        return Link("keys", "failed", f"The cluster has {len(missing)} that Google does not have: {missing[0][:12]}….", cure)
    if _INLINE_KEYS in patient.provider_drift():
        former = sum(kid not in own.keys for kid in known.keys)
        detail = f"Google trusts {former} that the cluster does not have any more." if former else "They are not where the file says."
        return Link("keys", "failed", detail, "Run `podpass apply`.")
    return Link("keys", "passed", f"{len(own.keys)} of the cluster, all {where}.")
