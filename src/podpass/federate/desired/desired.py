# SPDX-License-Identifier: Apache-2.0
"""From a federation file and the facts to the resources that should be there. Pure."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from podpass.config.federation import BucketSettings, Federation, GrantCondition, Keys, Workload
from podpass.exchange.credential_config import credential_config
from podpass.exchange.provider_list import provider_list
from podpass.federate.desired import condition
from podpass.federate.desired.principals import member_of
from podpass.federate.model import documents
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import JSON, Kind, Resource
from podpass.federate.model.roles import PUBLIC_READER, WORKLOAD_IDENTITY_USER
from podpass.federate.records.issuer_move import IssuerMove, Standing
from podpass.names import Issuer, PoolName, ProviderName

# Issuers whose owner publishes and rotates the keys: a copy on the provider would grow old within days.
_MANAGED = re.compile(r"oidc\.eks\.[a-z0-9-]+\.amazonaws\.com|[a-z0-9.-]*\.oic\.prod-aks\.azure\.com|container\.googleapis\.com")


def keys_mode(federation: Federation, issuer: Issuer) -> Keys:
    """Return where Google is to find the keys: as the file says, else inline, else by discovery for managed clusters."""
    return federation.issuer.keys or ("discovery" if is_managed(issuer) else "inline")


def is_managed(issuer: Issuer) -> bool:
    """Whether the keys of this issuer are a cloud provider's to rotate."""
    return _MANAGED.fullmatch(issuer.host) is not None


def declared_issuer(federation: Federation, facts: Facts) -> Issuer:
    """Return the issuer that Google is told: the file's, or the cluster's own for `keep`."""
    url = federation.issuer.url
    return Issuer.parse(facts.issuer) if url == "keep" else url


def provider_name(federation: Federation, facts: Facts) -> ProviderName:
    """Return the provider's name with the project's number, as Google writes it."""
    google = federation.google
    return PoolName(facts.project_number, google.pool.id).provider(google.provider.id)


def standing(federation: Federation, facts: Facts) -> Standing:
    """Return the provider and the issuer that the file asks for."""
    issuer = declared_issuer(federation, facts)
    return Standing(federation.google.provider.id, issuer.url, keys_mode(federation, issuer), federation.issuer.bucket)


def audiences(provider: ProviderName) -> tuple[str, str]:
    """Return what a provider takes tokens for where nobody says otherwise: its name, in both forms that Google knows."""
    return provider.audience, f"https:{provider.audience}"


def resources(federation: Federation, facts: Facts, move: IssuerMove | None = None) -> tuple[Resource, ...]:
    """Return everything that the file asks for, each thing once, in the order of making.

    Args:
        federation: The file.
        facts: What the sides say about themselves.
        move: A move of the issuer that is under way: it says which issuers and providers have to stand, and the file does not.
    """
    return _Builder(federation, facts, move).build()


class _Builder:
    """Collects the resources of one federation."""

    def __init__(self, federation: Federation, facts: Facts, move: IssuerMove | None) -> None:
        self.federation = federation
        self.facts = facts
        self.move = move
        self.standings = move.standings if move else (standing(federation, facts),)
        self.google = federation.google
        self.mark = Mark(federation.name, facts.cluster)
        self.pool = PoolName(facts.project_number, self.google.pool.id)
        self.found: dict[str, Resource] = {}

    def build(self) -> tuple[Resource, ...]:
        parts = (self._apis(), self._published(), self._pool(), self._providers(), self._accounts(), self._access(), self._credentials())
        for part in parts:
            for resource in part:
                self._add(resource)
        return tuple(self.found.values())

    def _add(self, resource: Resource) -> None:
        """Keep it once; two different grants of one address (conditions of one title) are told apart by a digest."""
        known = self.found.setdefault(resource.address, resource)
        if known.identity != resource.identity:
            digest = hashlib.sha256(repr(sorted(resource.identity.items())).encode()).hexdigest()[:6]
            twin = replace(resource, address=f"{resource.address}-{digest}")
            self.found.setdefault(twin.address, twin)

    def _apis(self) -> Iterator[Resource]:
        services = ["iam", "sts", "cloudresourcemanager"]
        patterns = self.federation.patterns
        if any(workload.google_service_account for workload in patterns):
            services.append("iamcredentials")
        has_bucket = any(one.bucket for one in self.standings)
        if has_bucket or any(grant.bucket for workload in patterns for grant in workload.grants):
            services.append("storage")
        for service in sorted(services):
            name = f"{service}.googleapis.com"
            yield Resource(f"{Kind.API}/{name}", {"project": self.facts.project, "service": name})

    def _published(self) -> Iterator[Resource]:
        # What publishes the leaving issuer is nobody's to take away before the move has ended.
        for one in (self.move.former, self.move.coming) if self.move else self.standings:
            if one.keys == "bucket" and one.bucket is not None:
                address = f"{Kind.BUCKET}/{one.bucket.name}"
                yield self._bucket(one.bucket, address)
                yield self._grant("allUsers", "allUsers", PUBLIC_READER, f"bucket/{one.bucket.name}", needs=(address,))
                for path, content in documents.published(Issuer(one.issuer), self.facts.jwks).items():
                    yield self._object(one.bucket.name, path, content, needs=(address,))

    def _bucket(self, bucket: BucketSettings, address: str) -> Resource:
        birth: dict[str, JSON] = {
            "labels": self.mark.labels,
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
            **({"location": bucket.location.upper()} if bucket.location else {}),
        }
        return Resource(address, {"bucket": bucket.name, "project": self.facts.project}, {}, birth, (_api("storage"),))

    def _object(self, bucket: str, path: str, content: str, *, needs: tuple[str, ...]) -> Resource:
        return Resource(
            f"{Kind.OBJECT}/{bucket}/{path}",
            {"bucket": bucket, "object": path},
            {"content": content, "cacheControl": documents.CACHE_CONTROL, "contentType": documents.CONTENT_TYPE},
            {"metadata": self.mark.labels},
            needs,
        )

    def _pool(self) -> Iterator[Resource]:
        if self.google.pool.existing:
            return
        body = {"description": self.mark.description, "disabled": False, **_named(self.google.pool.display_name)}
        identity = {"project": self.facts.project, "pool": self.google.pool.id}
        yield Resource(self._pool_address, identity, body, needs=(_api("iam"),))

    def _providers(self) -> Iterator[Resource]:
        if self.google.provider.existing:
            return
        for one in self.standings:
            yield self._provider(one)

    def _provider(self, one: Standing) -> Resource:
        body: dict[str, JSON] = {
            "description": self.mark.description,
            "disabled": False,
            **(_named(self.google.provider.display_name) if one.provider == self.google.provider.id else {}),
            "attributeMapping": dict(self.google.attribute_mapping),
            "attributeCondition": condition.of(self.federation),
            "oidc.issuerUri": one.issuer,
            "oidc.allowedAudiences": self._audiences(one),
            "oidc.jwksJson": documents.inline_keys(self.facts.jwks) if one.keys == "inline" else "",
        }
        identity = {"project": self.facts.project, "pool": self.google.pool.id, "provider": one.provider}
        published = tuple(address for address in self.found if address.startswith((f"{Kind.OBJECT}/", f"{Kind.GRANT}/allUsers:")))
        # Keys are published before anybody is told where they are.
        return Resource(f"{Kind.PROVIDER}/{one.provider}", identity, body, needs=(self._pool_address, *published))

    def _audiences(self, one: Standing) -> list[str]:
        """Return whom a provider takes tokens for: pods go on asking for the audience that their manifests name. Empty: itself alone."""
        others = dict.fromkeys((*(other.provider for other in self.standings), *self.google.provider.former_ids))
        names = [name for name in others if name != one.provider]
        return [audience for name in (one.provider, *names) for audience in audiences(self.pool.provider(name))] if names else []

    @property
    def _pool_address(self) -> str:
        return f"{Kind.POOL}/{self.google.pool.id}"

    def _accounts(self) -> Iterator[Resource]:
        """Return the Google accounts; one that belongs to a selection is there though nobody is found yet."""
        for workload in self.federation.patterns:
            account = workload.google_service_account
            if account and not workload.account_is_existing:
                identity = {"project": self.facts.project, "email": account.email}
                birth = {"description": self.mark.description}
                yield Resource(f"{Kind.ACCOUNT}/{account.account_id}", identity, {}, birth, (_api("iam"),))

    def _access(self) -> Iterator[Resource]:
        for workload in self.federation.workloads:
            principal = member_of(self.federation, self.facts, workload)
            account = workload.google_service_account
            if account:
                identity = _policy_item(f"account/{account.email}", WORKLOAD_IDENTITY_USER, principal, None)
                needs = (self._pool_address, _api("iamcredentials"), *self._made_account(workload))
                yield Resource(f"{Kind.BINDING}/{workload.label}", identity, needs=needs, origin=workload.selected_by)
                yield from self._grants_of_account(workload)
            else:
                yield from self._grants(workload, principal, workload.label, origin=workload.selected_by)
        for selection in self.federation.selections:
            yield from self._grants_of_account(selection.pattern)

    def _grants_of_account(self, workload: Workload) -> Iterator[Resource]:
        account = workload.google_service_account
        if account:
            yield from self._grants(workload, account.member, self._short(account.email))

    def _grants(self, workload: Workload, member: str, who: str, *, origin: str = "") -> Iterator[Resource]:
        needs = (_api("cloudresourcemanager"), *(self._made_account(workload) or (self._pool_address,)))
        for role in workload.roles:
            yield self._grant(who, member, role, f"project/{self.facts.project}", needs=needs, origin=origin)
        for grant in workload.grants:
            target = f"bucket/{grant.bucket}" if grant.bucket else f"project/{grant.project}"
            # The bucket may be the one that this federation makes.
            made = tuple(address for address in (f"{Kind.BUCKET}/{grant.bucket}",) if address in self.found)
            yield self._grant(who, member, grant.role, target, needs=(*needs, *made), condition_=grant.condition, origin=origin)

    def _grant(  # what a grant is made of
        self,
        who: str,
        member: str,
        role: str,
        target: str,
        *,
        needs: tuple[str, ...],
        condition_: GrantCondition | None = None,
        origin: str = "",
    ) -> Resource:
        slug = re.sub(r"[^a-z0-9]+", "-", condition_.title.lower()).strip("-") if condition_ else ""
        address = f"{Kind.GRANT}/{who}:{role.removeprefix('roles/')}@{target}" + (f":{slug}" if condition_ else "")
        return Resource(address, _policy_item(target, role, member, condition_), needs=needs, origin=origin)

    def _made_account(self, workload: Workload) -> tuple[str, ...]:
        account = workload.google_service_account
        return (f"{Kind.ACCOUNT}/{account.account_id}",) if account and not workload.account_is_existing else ()

    def _short(self, email: str) -> str:
        return email.removesuffix(f"@{self.facts.project}.iam.gserviceaccount.com")

    def _credentials(self) -> Iterator[Resource]:
        default = self.move.default.provider if self.move else self.google.provider.id
        name = self.pool.provider(default)
        for workload in self.federation.workloads:
            settings = workload.credentials
            if settings:
                namespace = workload.service_account.namespace
                content = credential_config(name, token_path=settings.token_path, service_account=workload.google_service_account)
                identity = {"namespace": namespace, "name": settings.config_map, "key": settings.key}
                birth = {"annotations": self.mark.annotations}
                body = {"content": content, **self._listed()}
                address = f"{Kind.CONFIG_MAP}/{namespace}/{settings.config_map}"
                yield Resource(address, identity, body, birth, origin=workload.selected_by)

    def _listed(self) -> dict[str, JSON]:
        """Return the list of both providers while a move asks for it; empty where it is to go again."""
        if self.move is None:
            return {}
        listed = {one.issuer: self.pool.provider(one.provider) for one in self.move.standings}
        return {"providers": provider_list(listed) if self.move.is_listed else ""}


def _api(service: str) -> str:
    return f"{Kind.API}/{service}.googleapis.com"


def _named(display_name: str | None) -> dict[str, str]:
    """Return the display name if the file has one; else podpass leaves it to whoever sets it."""
    return {} if display_name is None else {"displayName": display_name}


def _policy_item(target: str, role: str, member: str, condition_: GrantCondition | None) -> Mapping[str, JSON]:
    item = {"target": target, "role": role, "member": member}
    return {**item, "condition": condition_.as_json()} if condition_ else item


def by_address(items: Iterable[Resource]) -> dict[str, Resource]:
    """Return resources by their address."""
    return {item.address: item for item in items}
