# SPDX-License-Identifier: Apache-2.0
"""The links of one workload, on its way from a token of its own to a call."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from podpass.config.federation import Workload
from podpass.errors import CredentialError, NeighbourError, PodpassError
from podpass.exchange.exchanger import Exchanger
from podpass.exchange.tokens import AccessToken
from podpass.federate.desired import desired, principals
from podpass.federate.doctor import clocks
from podpass.federate.doctor.link import Link, broken, until_broken
from podpass.federate.doctor.patient import Patient
from podpass.federate.kinds import policies
from podpass.federate.model.change import Action
from podpass.federate.model.resource import JSON, Kind, Resource
from podpass.google.rest import GoogleClient, Request, segment
from podpass.kube.client import KubeClient
from podpass.names import Secret
from podpass.sources.token_request import TokenRequestSource
from podpass.wif import Judgement, judge
from podpass.wif.judge import SKEW

_OF_THE_TOKEN: Final = ("parse", "issuer", "audience", "lifetime", "key", "signature")
_ASKED_AT_MOST: Final = 20
_STALE: Final = "is stale to sign-in"  # google-behaviour: STS [M]
_ENABLE: Final = "Find out who disabled it, and why; `gcloud iam service-accounts enable {account}` enables it."


def of_workload(patient: Patient, cluster: KubeClient, workload: Workload, now: datetime) -> Iterator[Link]:
    """Examine one workload, with a token of its own; ends after the first broken link."""
    yield from _Walk(patient, cluster, workload, now).links()


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
        walk = (self._token, self._mapping, self._condition, self._exchange, self._principal, self._binding, self._role, self._call)
        yield from until_broken(*walk, *((self._credentials,) if self.workload.credentials else ()))

    def _token(self) -> Link:
        try:
            self.token = TokenRequestSource(self.cluster, self.workload.service_account, self.name.audience).read()
        except (CredentialError, NeighbourError) as error:
            return broken("token", error)
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
            return self._clocks_apart(error) or broken("exchange", error)
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
        seen = self.patient.prepared.observed.get(f"{Kind.ACCOUNT}/{account.account_id}")
        if seen is not None and seen.status != "present":  # Google only says that nobody may act as it
            return Link("binding", "failed", f"The Google account {account} is {seen.status}.", "Run `podpass apply`.")
        try:
            self.access = self._exchanger().impersonated_token(self.federated)
        except (CredentialError, NeighbourError) as error:
            link = broken("binding", error)
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

    def _credentials(self) -> Link:
        """Look whether pods find what they are to mount; the walk itself has no need of it."""
        assert self.workload.credentials is not None
        name = f"{self.workload.service_account.namespace}/{self.workload.credentials.config_map}"
        change = next((one for one in self.patient.prepared.plan.changes if one.address == f"{Kind.CONFIG_MAP}/{name}"), None)
        if change is None or (change.action is Action.ADOPT and not change.fields):
            return Link("credentials", "passed", f"In the config map {name}.")
        if change.action is Action.CREATE:
            return Link(
                "credentials", "failed", f"The config map {name} is missing: pods that mount it do not start.", "Run `podpass apply`."
            )
        return Link(
            "credentials",
            "failed",
            f"The config map {name} is not as the file says.",
            "`podpass plan` shows how; `podpass apply` mends it.",
        )

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
