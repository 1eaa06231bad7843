# SPDX-License-Identifier: Apache-2.0
"""Walks the chain from the cluster's issuer to a call, with a real token for each workload, and names the first link that is broken.

The links, in order: issuer, keys, provider; then for each workload token, mapping, condition (judged here, as Google judges, so that the
reason is known), exchange (asked of Google), principal, binding, role, call. What comes after a broken link is not reached.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal

import httpx2

from podpass.config.federation import Federation, Workload
from podpass.errors import CredentialError, KeySetError, NeighbourError, PodpassError, UnreachableError
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.tokens import AccessToken
from podpass.federate import clocks, desired, principals
from podpass.federate.change import Action
from podpass.federate.facts import Facts
from podpass.federate.kinds import policies
from podpass.federate.planning import Prepared
from podpass.federate.published import published_keys
from podpass.federate.resource import JSON, Kind, Observed, Resource
from podpass.google.rest import GoogleClient, Request, segment
from podpass.kube.client import KubeClient
from podpass.names import Issuer, Secret
from podpass.sources.token_request import TokenRequestSource
from podpass.verify import KeySet
from podpass.wif import Judgement, Provider, judge
from podpass.wif.judge import SKEW

_OF_THE_TOKEN: Final = ("parse", "issuer", "audience", "lifetime", "key", "signature")
_ASKED_AT_MOST: Final = 20
_STALE: Final = "is stale to sign-in"  # google-behaviour: STS [M]
_ENABLE: Final = "Find out who disabled it, and why; `gcloud iam service-accounts enable {account}` enables it."
_NOT_SEEN_HERE: Final = (
    "What can be seen from here is sound. Wait a minute, in case it has just been changed, and run `podpass doctor` again."
)
_INLINE_KEYS: Final = "oidc.jwksJson"  # what is wrong with them is told by the link of the keys


@dataclass(frozen=True, slots=True)
class Link:
    """One link of the chain.

    Attributes:
        name: Which.
        state: `untried`: there is no harmless way to try it.
        detail: What was found.
        cure: What to do about a broken one.
    """

    name: str
    state: Literal["passed", "failed", "untried"]
    detail: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined.

    Attributes:
        federation: The file.
        facts: What the sides say about themselves.
        prepared: The plan, for what was seen when it was made.
        http: For what strangers may read, and for the exchange.
    """

    federation: Federation
    facts: Facts
    prepared: Prepared
    http: httpx2.Client

    @property
    def google(self) -> GoogleClient:
        """Google, as the operator."""
        return self.prepared.sides.google

    @property
    def issuer(self) -> Issuer:
        """The declared issuer."""
        return desired.declared_issuer(self.federation, self.facts)

    def seen(self, kind: Literal[Kind.POOL, Kind.PROVIDER]) -> Observed:
        """Return the declared pool or provider as it was seen."""
        google = self.federation.google
        return self.prepared.observed[f"{kind}/{google.pool.id if kind is Kind.POOL else google.provider.id}"]

    def provider(self) -> Provider:
        """Return the provider as Google has it."""
        pool, provider = self.seen(Kind.POOL), self.seen(Kind.PROVIDER)
        body = provider.body
        return Provider(
            name=desired.provider_name(self.federation, self.facts),
            issuer_uri=str(body.get("oidc.issuerUri", "")),
            attribute_mapping=body.get("attributeMapping") or {},
            attribute_condition=body.get("attributeCondition") or None,
            allowed_audiences=tuple(body.get("oidc.allowedAudiences") or ()),
            jwks_json=body.get("oidc.jwksJson") or None,
            disabled=bool(body.get("disabled")),
            pool_disabled=bool(pool.body.get("disabled")),
        )

    def provider_drift(self) -> frozenset[str]:
        """Return the fields of the provider that are not as the file says."""
        address = f"{Kind.PROVIDER}/{self.federation.google.provider.id}"
        changes = (one for one in self.prepared.plan.changes if one.address == address and one.action is not Action.ADOPT)
        return frozenset(field.name for change in changes for field in change.fields)

    def is_referred(self, kind: Kind) -> bool:
        """Whether somebody else keeps the pool or the provider, so that `podpass apply` cures nothing of it."""
        google = self.federation.google
        return google.pool.existing if kind is Kind.POOL else google.provider.existing

    def keys(self) -> KeySet:
        """Return the keys that Google has of the issuer."""
        inline = self.provider().jwks_json
        return KeySet.parse(inline) if inline else published_keys(self.http, self.issuer)


def of_the_cluster(patient: Patient) -> Iterator[Link]:
    """Examine what all workloads have in common; ends after the first broken link."""
    yield from _until_broken((lambda: _issuer(patient), lambda: _provider(patient), lambda: _keys(patient)))


def of_workload(patient: Patient, cluster: KubeClient, workload: Workload, now: datetime) -> Iterator[Link]:
    """Examine one workload, with a token of its own; ends after the first broken link."""
    yield from _Walk(patient, cluster, workload, now).links()


def _until_broken(steps: tuple[Callable[[], Link], ...]) -> Iterator[Link]:
    for step in steps:
        link = step()
        yield link
        if link.state == "failed":
            return


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
            return Link("provider", "failed", f"The {kind} is {seen.status}.", "Run `podpass apply`.")
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


class _Walk:
    """One workload on its way from token to call."""

    def __init__(self, patient: Patient, cluster: KubeClient, workload: Workload, now: datetime) -> None:
        self.patient = patient
        self.cluster = cluster
        self.workload = workload
        self.now = now
        self.name = desired.provider_name(patient.federation, patient.facts)
        self.token: Secret[str]
        self.judgement: Judgement
        self.federated: AccessToken
        self.access: AccessToken

    def links(self) -> Iterator[Link]:
        yield from _until_broken(
            (self._token, self._mapping, self._condition, self._exchange, self._principal, self._binding, self._role, self._call)
        )

    def _token(self) -> Link:
        try:
            self.token = TokenRequestSource(self.cluster, self.workload.service_account, self.name.audience).read()
        except (CredentialError, NeighbourError) as error:
            return _broken("token", error)
        self.judgement = judge(self.token.reveal(), self.patient.provider(), lambda _: self.patient.keys(), self.now)
        failed = next((check for check in self.judgement.checks if not check.passed and check.name in _OF_THE_TOKEN), None)
        if failed:
            cure = "Synchronize the clocks of cluster and operator." if failed.name == "lifetime" else "Run `podpass apply`."
            return Link("token", "failed", failed.detail, cure)
        return Link("token", "passed", "Signed by the cluster, for the provider.")

    def _mapping(self) -> Link:
        failed = next((check for check in self.judgement.checks if not check.passed and check.name == "mapping"), None)
        if failed:
            return Link("mapping", "failed", failed.detail, "Correct attributeMapping, and apply.")
        return Link("mapping", "passed", next((check.detail for check in self.judgement.checks if check.name == "mapping"), ""))

    def _condition(self) -> Link:
        refusal = self.judgement.refusal
        if refusal:
            detail = next((check.detail for check in self.judgement.checks if not check.passed), refusal.description)
            return Link("condition", "failed", detail, "Add the account to the workloads, or correct attributeCondition; then apply.")
        return Link("condition", "passed", "True for this token.")

    def _exchange(self) -> Link:
        exchanger = self._exchanger()
        try:
            self.federated = self.access = exchanger.federated_token(self.token)
        except (CredentialError, NeighbourError) as error:
            return self._clocks_apart(error) or _broken("exchange", error)
        return Link("exchange", "passed", "Google gave a federated token.")

    def _clocks_apart(self, error: PodpassError) -> Link | None:
        """Say so where that is why Google refuses the token: by Google's clock it is too old or not yet issued, and it is seconds old."""
        gap = clocks.ahead(self.patient.http, self.token) if _STALE in error.why else None
        if gap is None or abs(gap) <= SKEW:
            return None
        side = "ahead of" if gap > timedelta() else "behind"
        detail = f"The cluster's clock is {abs(gap).total_seconds():.0f} s {side} Google's; {SKEW.total_seconds():.0f} s are allowed."
        cure = "Synchronize the clocks of the machines that run the API server (chrony, systemd-timesyncd): it dates the tokens."
        return Link("exchange", "failed", detail, cure)

    def _exchanger(self) -> Exchanger:
        return Exchanger(self.name, service_account=self.workload.google_service_account, http=self.patient.http)

    def _principal(self) -> Link:
        member = principals.member_of(self.patient.federation, self.patient.facts, self.workload)
        attribute = principals.attribute_of(self.workload)
        mapped = self.judgement.attributes.get(attribute, self.judgement.subject if attribute == "google.subject" else "")
        if not member.endswith(f"/{mapped}"):
            return Link("principal", "failed", f"Google sees {attribute} = {mapped!r}; the roles name {member}.", "Run `podpass apply`.")
        return Link("principal", "passed", f"{attribute} = {mapped}")

    def _binding(self) -> Link:
        account = self.workload.google_service_account
        if account is None:
            return Link("binding", "passed", "Direct access: none is needed.")
        try:
            self.access = self._exchanger().impersonated_token(self.federated)
        except (CredentialError, NeighbourError) as error:
            link = _broken("binding", error)
            return replace(link, cure=_ENABLE.format(account=account)) if "account is disabled" in error.why else link  # an API can be, too
        return Link("binding", "passed", f"It may act as {account}.")

    def _role(self) -> Link:
        missing = [
            one for one in self._grants() if not policies.has(self.patient.prepared.policies.get(one.identity["target"]), one.identity)
        ]
        if missing:
            return Link("role", "failed", f"{missing[0].address} is missing.", "Run `podpass apply`.")
        grants = self._grants()
        return Link("role", "passed", ", ".join(str(one.identity["role"]) for one in grants) or "None is declared.")

    def _grants(self) -> list[Resource]:
        account = self.workload.google_service_account
        member = account.member if account else principals.member_of(self.patient.federation, self.patient.facts, self.workload)
        return [one for one in self.patient.prepared.plan.desired if one.kind is Kind.GRANT and one.identity["member"] == member]

    def _call(self) -> Link:
        """Ask, with the workload's own token, which of a role's permissions it has: a call that needs none and changes nothing."""
        grant = next(
            (one for one in self._grants() if one.identity["target"].startswith("project/") and "condition" not in one.identity), None
        )
        if grant is None:
            return Link("call", "untried", "No role without a condition on a project, so there is nothing harmless to ask.")
        project, role = grant.identity["target"].partition("/")[2], str(grant.identity["role"])
        try:
            asked = self._permissions(role)
            if not asked:
                return Link("call", "untried", f"Which permissions {role} holds is not said, so there is nothing to ask.")
            with GoogleClient(_Bearer(self.access.value)) as google:
                answer = google.call(_test(project, asked))
        except NeighbourError as error:  # a role of the organization's own, or permissions that a project cannot be asked about
            return Link("call", "untried", error.what)
        granted = answer.get("permissions") or []
        if not granted:
            cure = "A new grant takes up to some minutes: run `podpass doctor` again. Else look for a deny policy."
            return Link("call", "failed", f"It has none of the permissions of {role} on {project} yet.", cure)
        detail = f"It has {len(granted)} of the {len(asked)} permissions of {role} that were asked about, on {project}."
        return Link("call", "passed", detail)

    def _permissions(self, role: str) -> list[str]:
        found: Mapping[str, JSON] = self.patient.google.call(Request("GET", "iam", f"/v1/{role}", f"look up {role}"))
        return [str(name) for name in found.get("includedPermissions") or []][:_ASKED_AT_MOST]


class _Bearer:
    """A workload's access token as an `Authorizer`."""

    def __init__(self, token: Secret[str]) -> None:
        self._token = token

    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._token.reveal()}"}

    def renew(self, stale: Mapping[str, str]) -> None:
        """Do nothing: the token was made a moment ago."""


def _test(project: str, permissions: list[str]) -> Request:
    return Request(
        "POST",
        "cloudresourcemanager",
        f"/v1/projects/{segment(project)}:testIamPermissions",
        f"ask what the workload may do in the project {project}",
        body={"permissions": permissions},
        is_repeatable=True,
    )


def _broken(name: str, error: PodpassError) -> Link:
    # Elsewhere the cure may be to ask doctor; here that would lead round in a circle.
    cure = _NOT_SEEN_HERE if "`podpass doctor`" in error.next_step else error.next_step
    return Link(name, "failed", f"{error.what} {error.why}".strip(), cure)
