# SPDX-License-Identifier: Apache-2.0
"""Asks cluster and project for the facts, all at once, together with the things of the federation."""

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, Executor, Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeGuard, TypeVar

from podpass.errors import ConfigError, KeySetError, MalformedTokenError, UnexpectedAnswerError
from podpass.federate.desired.principals import OtherProvider
from podpass.federate.desired.selection import Selected
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.federate.model.objection import Objection, stop
from podpass.federate.observed import permissions
from podpass.federate.observed.observed import Reader, grouped, outline
from podpass.federate.records import under_way
from podpass.federate.records.receipt import NAMESPACE, Receipt
from podpass.federate.records.receipt_store import ReceiptStore
from podpass.federate.records.under_way import UnderWay
from podpass.google import fault as google_fault
from podpass.google import iam, projects, services
from podpass.google.fault import GoogleRefusedError
from podpass.google.rest import GoogleClient, Json
from podpass.kube import fault as kube_fault
from podpass.kube import issuer as kube_issuer
from podpass.kube.client import KubeClient
from podpass.kube.fault import KubeRefusedError
from podpass.kube.leases import GROUP as LEASES
from podpass.kube.lists import MANY
from podpass.kube.objects import Thing, get_namespace, get_service_account, list_namespaces, list_service_accounts
from podpass.kube.reviews import Access, may
from podpass.kube.tokens import request_token
from podpass.names import PoolName, ServiceAccountRef
from podpass.verify import KeySet, UnverifiedClaims, parse
from podpass.verify.claims import read_audiences

T = TypeVar("T")

_WRITE = ("create", "update")
_CURABLE_BY_OTHERS = {google_fault.FaultKind.API_DISABLED, google_fault.FaultKind.PERMISSION_DENIED, google_fault.FaultKind.NOT_FOUND}


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found.

    Attributes:
        facts: The two sides.
        receipt: What podpass made; None: there is no receipt.
        others: The other providers of the pool.
        under_way: A rotation that has begun; None: there is none.
        enabled: The APIs that are on; None: unknown.
        missing: By project: permissions that the operator lacks.
        obstacles: What stands in the way on the cluster's side.
    """

    facts: Facts
    receipt: Receipt | None
    others: tuple[OtherProvider, ...]
    under_way: UnderWay | None
    enabled: frozenset[str] | None
    missing: dict[str, frozenset[str]]
    obstacles: tuple[Objection, ...]


class Survey:
    """One round of questions about one federation."""

    def __init__(self, selected: Selected, google: GoogleClient, cluster: KubeClient, store: ReceiptStore, executor: Executor) -> None:
        self.federation = selected.federation
        self._known_uids = selected.uids
        self.google = google
        self.cluster = cluster
        self.store = store
        self.executor = executor
        self._begun: list[Future[Any]] = []

    def run(self, reader: Reader) -> Findings:
        """Ask everything and wait for the answers.

        Raises:
            RefusedError: Google or the cluster does not let the operator look: every such refusal at once, before anything was changed.
            NeighbourError: No answer.
            ConfigError: The receipt cannot be read, or the cluster has no issuer.
        """
        name = self.federation.google.project
        project = self._begin(partial(projects.get_project, self.google, name))
        others = self._begin(self._others)
        enabled = self._begin(self._enabled)
        asked = permissions.asked(name, (str(identity.get("target", "")) for _, identity in outline(self.federation)))
        missing = {one: self._begin(partial(self._missing, one, wanted)) for one, wanted in asked.items()}
        reader.prefetch(outline(self.federation))
        home = self._begin(partial(get_namespace, self.cluster, "kube-system"))
        discovery = self._begin(partial(kube_issuer.get_discovery, self.cluster))
        jwks = self._begin(partial(kube_issuer.get_jwks, self.cluster))
        receipt = self._begin(self.store.read)
        rotation = self._begin(partial(under_way.read, self.cluster, self.federation.name))
        accounts = [self._begin(ask) for ask in self._account_questions()]
        token = self._begin(self._own_token)
        obstacles = self._begin_obstacles()
        self._settle(reader)
        claims = token.result()
        found = discovery.result()
        facts = Facts(
            cluster=_identity(home.result()),
            issuer=found.issuer if found else _issuer_in(claims),
            jwks=jwks.result().decode("utf-8", "replace"),
            project=project.result().project_id,
            project_number=project.result().number,
            account_uids=dict(self._known_uids) | {account: uid for future in accounts for account, uid in future.result().items()},
            api_audiences=_audiences_in(claims),
        )
        lacks = {one: answer for one, future in missing.items() if (answer := future.result()) is not None}
        blocked = tuple(one for future in obstacles for one in future.result())
        return Findings(facts, receipt.result(), others.result(), rotation.result(), enabled.result(), lacks, blocked)

    def _begin(self, ask: Callable[[], T]) -> Future[T]:
        future = self.executor.submit(ask)
        self._begun.append(future)
        return future

    def _settle(self, reader: Reader) -> None:
        """Wait for all answers; tell every refusal that somebody else has to cure. Another error is told at once."""
        asked = (*self._begun, *reader.begun())
        waiting: Collection[Future[Any]] = asked
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_EXCEPTION)
            for error in filter(None, (future.exception() for future in done)):
                if not _is_refusal(error):
                    raise error
        refusals: dict[str, Objection] = {}
        for error in filter(_is_refusal, (future.exception() for future in asked)):
            refusals.setdefault(_subject_of(error), Objection(error.full_code, error.what, error.why, error.next_step))
        stop(list(refusals.values()))

    def _others(self) -> tuple[OtherProvider, ...]:
        google = self.federation.google
        found = iam.list_providers(self.google, PoolName(google.project, google.pool.id))
        providers = (_other(one) for one in found)
        return tuple(one for one in providers if one.provider_id != google.provider.id)

    def _enabled(self) -> frozenset[str] | None:
        try:
            return services.enabled_services(self.google, self.federation.google.project)
        except GoogleRefusedError:  # an operator may set up federation without the right to look at Service Usage
            return None

    def _missing(self, project: str, names: Iterable[str]) -> frozenset[str] | None:
        try:
            return projects.missing_permissions(self.google, project, names)
        except GoogleRefusedError:
            return None

    def _own_token(self) -> UnverifiedClaims | None:
        """Return the claims of a token that a workload would get for the API server itself; the token goes nowhere."""
        for workload in self.federation.workloads:
            try:
                return parse(request_token(self.cluster, workload.service_account).value.reveal()).payload
            except (KubeRefusedError, MalformedTokenError):  # no such account yet, or no right to ask: the check is left out
                continue
        return None

    def _account_questions(self) -> Iterator[Callable[[], dict[ServiceAccountRef, str]]]:
        """Return what to ask for the uids of the workloads' accounts: one list for a namespace that has many of them."""
        accounts = dict.fromkeys(one.service_account for one in self.federation.workloads if one.service_account not in self._known_uids)
        for namespace, refs in grouped(accounts, lambda ref: ref.namespace).items():
            if len(refs) >= MANY:
                yield partial(self._listed_uids, namespace, refs)
            else:
                yield from (partial(self._uids, [ref]) for ref in refs)

    def _listed_uids(self, namespace: str, refs: list[ServiceAccountRef]) -> dict[ServiceAccountRef, str]:
        try:
            found = list_service_accounts(self.cluster, namespace)
        except KubeRefusedError as error:
            if error.kind is not kube_fault.FaultKind.FORBIDDEN:
                raise
            return self._uids(refs)
        return {ref: found[ref.name].uid for ref in refs if ref.name in found}

    def _uids(self, refs: list[ServiceAccountRef]) -> dict[ServiceAccountRef, str]:
        return {ref: thing.uid for ref in refs if (thing := get_service_account(self.cluster, ref))}

    def _begin_obstacles(self) -> list[Future[list[Objection]]]:
        namespaces = sorted({workload.service_account.namespace for workload in self.federation.workloads if workload.credentials})
        own = [Access(verb, "configmaps", namespace=NAMESPACE) for verb in _WRITE]
        own += [Access(verb, "leases", group=LEASES, namespace=NAMESPACE) for verb in ("create", "delete")]
        questions = [partial(self._not_allowed, [one]) for one in own]
        for verb in _WRITE:
            each = [Access(verb, "configmaps", namespace=namespace) for namespace in namespaces]
            everywhere = [Access(verb, "configmaps")] if len(each) >= MANY else []
            questions += (
                [partial(self._not_allowed, each, *everywhere)] if everywhere else [partial(self._not_allowed, [one]) for one in each]
            )
        groups = [namespaces] if len(namespaces) >= MANY else [[one] for one in namespaces]
        return [*map(self._begin, questions), *(self._begin(partial(self._no_namespaces, group)) for group in groups)]

    def _not_allowed(self, accesses: list[Access], everywhere: Access | None = None) -> list[Objection]:
        """Return an objection for each access that the operator lacks; who has it everywhere is not asked about each."""
        if everywhere and self._may(everywhere):
            return []
        return [self._lacks(access) for access in accesses if not self._may(access)]

    def _may(self, access: Access) -> bool:
        try:
            return may(self.cluster, access)
        except KubeRefusedError:  # the question itself is not allowed or not known: a call will tell
            return True

    def _lacks(self, access: Access) -> Objection:
        return Objection(
            "neighbour.not-permitted",
            f"The operator (context {self.cluster.access.context!r}) may not {access}.",
            "The receipt of what podpass makes is kept there, and whose turn it is to make it."
            if access.namespace == NAMESPACE
            else "The credential configuration goes there.",
            "Ask for a role that allows it, or name another context in spec.cluster.context.",
        )

    def _no_namespaces(self, names: list[str]) -> list[Objection]:
        return [
            Objection(
                "plan.no-namespace",
                f"There is no namespace {name!r}.",
                "A config map is to go there.",
                f"Run `kubectl create namespace {name}`.",
            )
            for name in self._missing_namespaces(names)
        ]

    def _missing_namespaces(self, names: list[str]) -> list[str]:
        if len(names) >= MANY:
            try:
                found = list_namespaces(self.cluster)
            except KubeRefusedError as error:
                if error.kind is not kube_fault.FaultKind.FORBIDDEN:
                    raise
            else:
                return [name for name in names if name not in found]
        return [name for name in names if get_namespace(self.cluster, name) is None]


def _is_refusal(error: BaseException | None) -> TypeGuard[GoogleRefusedError | KubeRefusedError]:
    if isinstance(error, GoogleRefusedError):
        return error.kind in _CURABLE_BY_OTHERS
    return isinstance(error, KubeRefusedError) and error.kind is kube_fault.FaultKind.FORBIDDEN


def _subject_of(error: BaseException) -> str:
    if isinstance(error, GoogleRefusedError) and error.kind is google_fault.FaultKind.API_DISABLED:
        return error.fault.service or error.what
    return str(error)


def _other(provider: Json) -> OtherProvider:
    oidc = provider.get("oidc") or {}
    mapping, mark = dict(provider.get("attributeMapping") or {}), Mark.in_description(provider.get("description"))
    return OtherProvider(
        str(provider["name"]).rpartition("/")[2], str(oidc.get("issuerUri", "")), mapping, mark, _kids(oidc.get("jwksJson"))
    )


def _kids(jwks: object) -> frozenset[str]:
    try:
        return frozenset(KeySet.parse(str(jwks)).keys) if jwks else frozenset()
    except KeySetError:
        return frozenset()


def _identity(home: Thing | None) -> str:
    if home is None:
        raise UnexpectedAnswerError("The cluster has no namespace kube-system.", "Its uid is what podpass knows a cluster by.", "")
    return home.uid


def _issuer_in(claims: UnverifiedClaims | None) -> str:
    issuer = claims.get("iss") if claims else None
    if isinstance(issuer, str):
        return issuer
    raise ConfigError(
        "The cluster's issuer is not known.",
        "The API server publishes no discovery document, and no workload's account is there whose token would tell.",
        "Write the issuer into spec.issuer.url, or create the workload's Kubernetes account first.",
        code="config.issuer-unknown",
    )


def _audiences_in(claims: UnverifiedClaims | None) -> frozenset[str] | None:
    try:
        return frozenset(read_audiences(claims)) if claims else None
    except MalformedTokenError:
        return None
