# SPDX-License-Identifier: Apache-2.0
"""Pools and providers that somebody else keeps (Terraform, another team): read, compared with what the file rests on, left alone. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from podpass.config.federation import Federation
from podpass.errors import KeySetError
from podpass.federate.desired.desired import declared_issuer, provider_name
from podpass.federate.model.change import Action, Change
from podpass.federate.model.facts import Facts
from podpass.federate.model.objection import Objection
from podpass.federate.model.plan import Caution
from podpass.federate.model.resource import Kind, Observed, Resource
from podpass.verify.jwks import KeySet

Seen = Mapping[str, Observed]
"""What was read, by address."""


def resources(federation: Federation) -> tuple[Resource, ...]:
    """Return what is referred to; each is read, and none is asked for."""
    google = federation.google
    pool = {"project": google.project, "pool": google.pool.id}
    found = []
    if google.pool.existing:
        found.append(Resource(f"{Kind.POOL}/{google.pool.id}", pool))
    if google.provider.existing:
        found.append(Resource(f"{Kind.PROVIDER}/{google.provider.id}", {**pool, "provider": google.provider.id}))
    return tuple(found)


def untouched(changes: Iterable[Change], referred: Iterable[Resource]) -> tuple[Change, ...]:
    """Return the changes without the deletion of what the file refers to: podpass made it once, and has handed it over."""
    theirs = {resource.address for resource in referred}
    return tuple(change for change in changes if not (change.action is Action.DELETE and change.address in theirs))


def objections(federation: Federation, seen: Seen) -> Iterator[Objection]:
    """Return why the file cannot rest on what is there: it is gone, or it makes other principals of the same tokens."""
    for resource in resources(federation):
        status = seen[resource.address].status
        if status != "present":
            gone = "is not there" if status == "absent" else "is deleted"
            yield Objection(
                "plan.reference",
                f"{resource.address} {gone}.",
                "The file says existing: true, so somebody else keeps it, and podpass neither makes nor undeletes it.",
                f"Have it made where it is kept; or remove existing from {_where(federation, resource.kind)}, and podpass makes it.",
            )
        elif resource.kind is Kind.PROVIDER:
            yield from _mapping(federation, seen[resource.address])


def _mapping(federation: Federation, provider: Observed) -> Iterator[Objection]:
    theirs = provider.body.get("attributeMapping") or {}
    used = {"google.subject", *(one.member for one in federation.patterns if one.member != "subject")}
    for name in sorted(used):
        ours = federation.google.attribute_mapping.get(name, "")
        if theirs.get(name, "") != ours:
            yield Objection(
                "plan.reference",
                f"The provider {federation.google.provider.id} maps {name} from {theirs.get(name, 'nothing')!r}, the file from {ours!r}.",
                "podpass would give the roles to principals that the provider makes of nobody.",
                f"Write its mapping at {federation.source.where('spec.google.attributeMapping')}, or have the provider's changed.",
            )


def cautions(federation: Federation, facts: Facts, seen: Seen) -> Iterator[Caution]:
    """Return where what is there will refuse the workloads' tokens, and who has to mend it."""
    for resource in resources(federation):
        if seen[resource.address].body.get("disabled"):
            yield Caution(
                "reference-differs", f"{resource.address} is disabled, so every token is refused. Whoever keeps it can enable it."
            )
        if resource.kind is Kind.PROVIDER:
            yield from _provider(federation, facts, seen[resource.address])


def _provider(federation: Federation, facts: Facts, provider: Observed) -> Iterator[Caution]:
    issuer, theirs = declared_issuer(federation, facts).url, str(provider.body.get("oidc.issuerUri", ""))
    name = federation.google.provider.id
    if theirs != issuer:
        yield Caution("reference-differs", f"The provider {name} trusts {theirs!r}, not {issuer!r}: it refuses this cluster's tokens.")
    audiences = provider.body.get("oidc.allowedAudiences") or []
    if audiences and not {str(one).removeprefix("https:") for one in audiences} & {provider_name(federation, facts).audience}:
        yield Caution(
            "reference-differs",
            f"The provider {name} takes tokens for {audiences[0]!r} and not for its own name, which the credential configurations ask for. "
            f"Whoever keeps it can add {provider_name(federation, facts).audience!r}.",
        )
    missing = missing_keys(facts, provider)
    if missing:
        yield Caution(
            "reference-differs",
            f"The provider {name} does not have {len(missing)} of the cluster's keys ({missing[0][:12]}…) and refuses what they sign. "
            "`kubectl get --raw /openid/v1/jwks` prints all of them for whoever keeps it.",
        )


def missing_keys(facts: Facts, provider: Observed) -> list[str]:
    """Return the ids of the cluster's keys that a provider with inline keys lacks; none where it reads them itself."""
    inline = provider.body.get("oidc.jwksJson")
    if not inline:
        return []
    try:
        known = KeySet.parse(str(inline)).keys
    except KeySetError:
        known = {}
    return [kid for kid in KeySet.parse(facts.jwks).keys if kid not in known]


def _where(federation: Federation, kind: Kind) -> str:
    return federation.source.where(f"spec.google.{kind}.existing")
