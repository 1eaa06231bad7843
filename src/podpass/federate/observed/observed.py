# SPDX-License-Identifier: Apache-2.0
"""Reads the things of a federation as they are now, many at a time, each once.

Where a thing lives is known from the federation file alone (`outline`), so nearly everything is asked for in one round, together with the
facts that the rest depends on.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, TypeVar

from podpass.config.federation import Federation
from podpass.federate.kinds import policies
from podpass.federate.kinds.accounts import Accounts
from podpass.federate.kinds.config_maps import ConfigMaps
from podpass.federate.kinds.registry import handlers
from podpass.federate.model import documents
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import ABSENT, JSON, Kind, Observed, Resource, kind_of
from podpass.federate.records.receipt import Receipt
from podpass.google.policy import Policy
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient
from podpass.kube.lists import MANY

T = TypeVar("T")

_NOBODY = Mark("", "")
# What can be listed, and the member of its identity that says where.
_PLACE = {Kind.CONFIG_MAP: "namespace", Kind.ACCOUNT: "project"}


class Reader:
    """Reads each thing once, in the background."""

    def __init__(self, google: GoogleClient, cluster: KubeClient | None, executor: Executor) -> None:
        self._handlers = handlers(google, cluster, _NOBODY)
        self._google = google
        self._executor = executor
        self._things: dict[tuple[Kind, str], Future[Observed]] = {}
        self._policies: dict[str, Future[Policy | None]] = {}
        self._accounts: dict[str, Future[Observed]] = {}

    def prefetch(self, things: Iterable[tuple[Kind, Mapping[str, JSON]]]) -> None:
        """Begin to read things."""
        wanted = tuple(things)
        for kind in _PLACE:
            self._listed(kind, (identity for one, identity in wanted if one is kind))
        for kind, identity in wanted:
            if kind.is_policy_item:
                self._policy(str(identity["target"]))
            elif kind is not Kind.API:
                self._thing(kind, identity)

    def get(self, kind: Kind, identity: Mapping[str, JSON]) -> Observed:
        """Return a thing; waits for it."""
        if kind.is_policy_item:
            return Observed("present") if policies.has(self._policy(str(identity["target"])).result(), identity) else ABSENT
        return self._thing(kind, identity).result()

    def begun(self) -> tuple[Future[Any], ...]:
        """Return everything that was asked."""
        return (*self._things.values(), *self._policies.values())

    def known_policies(self) -> dict[str, Policy]:
        """Return the policies that were read, by target."""
        read = {target: future.result() for target, future in self._policies.items()}
        return {target: policy for target, policy in read.items() if policy is not None}

    def _thing(self, kind: Kind, identity: Mapping[str, JSON]) -> Future[Observed]:
        key = _key(kind, identity)
        if key not in self._things:
            handler = self._handlers.get(kind)
            # Without a cluster its config maps are as good as gone.
            self._things[key] = self._executor.submit(handler.read, identity) if handler else _settled(ABSENT)
        return self._things[key]

    def _listed(self, kind: Kind, identities: Iterable[Mapping[str, JSON]]) -> None:
        """Begin to read by a list what there are many of in one place."""
        handler = self._handlers.get(kind)
        if not isinstance(handler, ConfigMaps | Accounts):
            return
        new = {key: identity for identity in identities if (key := _key(kind, identity)) not in self._things}
        for place, keys in grouped(new, lambda key: str(new[key][_PLACE[kind]])).items():
            if len(keys) >= MANY:
                futures = [self._things.setdefault(key, Future()) for key in keys]
                if kind is Kind.ACCOUNT:
                    self._accounts |= {f"account/{new[key]['email']}": future for key, future in zip(keys, futures, strict=True)}
                listed = self._executor.submit(handler.read_all, place, [new[key] for key in keys])
                listed.add_done_callback(partial(_fill, futures))

    def _policy(self, target: str) -> Future[Policy | None]:
        if target not in self._policies:
            self._policies[target] = self._executor.submit(self._read_policy, target)
        return self._policies[target]

    def _read_policy(self, target: str) -> Policy | None:
        """Read a policy, unless a list that was begun before says that there is no such account."""
        account = self._accounts.get(target)
        return None if account and account.result().status == "absent" else policies.read(self._google, target)


def _key(kind: Kind, identity: Mapping[str, JSON]) -> tuple[Kind, str]:
    return kind, repr(sorted(identity.items()))


def grouped(things: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    """Return things by what they have in common."""
    groups: dict[str, list[T]] = {}
    for thing in things:
        groups.setdefault(key(thing), []).append(thing)
    return groups


def _fill(futures: Iterable[Future[Observed]], listed: Future[Iterable[Observed]]) -> None:
    """Settle many futures with one reading that has ended, however."""
    waiting = list(futures)
    try:
        found = list(listed.result())
    except BaseException as error:  # noqa: BLE001 - whoever waits is told
        for future in waiting:
            future.set_exception(error)
        return
    for future, one in zip(waiting, found, strict=True):
        future.set_result(one)


def _settled(value: Observed) -> Future[Observed]:
    future: Future[Observed] = Future()
    future.set_result(value)
    return future


def outline(federation: Federation) -> Iterator[tuple[Kind, Mapping[str, JSON]]]:
    """Return where the federation's things live, before any fact is known; `member` and `role` of policy items are left out."""
    google = federation.google
    pool = {"project": google.project, "pool": google.pool.id}
    yield Kind.POOL, pool
    yield Kind.PROVIDER, {**pool, "provider": google.provider.id}
    bucket = federation.issuer.bucket
    if bucket:
        yield Kind.BUCKET, {"bucket": bucket.name, "project": google.project}
        yield Kind.GRANT, {"target": f"bucket/{bucket.name}"}
        for path in (documents.KEYS_PATH, documents.DISCOVERY_PATH):
            yield Kind.OBJECT, {"bucket": bucket.name, "object": path}
    for workload in federation.patterns:
        account = workload.google_service_account
        if account:
            yield Kind.BINDING, {"target": f"account/{account.email}"}
            if not workload.account_is_existing:
                yield Kind.ACCOUNT, {"project": google.project, "email": account.email}
        for grant in workload.grants:
            yield Kind.GRANT, {"target": f"bucket/{grant.bucket}" if grant.bucket else f"project/{grant.project}"}
        if workload.roles:
            yield Kind.GRANT, {"target": f"project/{google.project}"}
    for workload in federation.workloads:
        if workload.credentials:
            settings, namespace = workload.credentials, workload.service_account.namespace
            yield Kind.CONFIG_MAP, {"namespace": namespace, "name": settings.config_map, "key": settings.key}


def of_desired(reader: Reader, desired: Iterable[Resource], enabled: frozenset[str] | None) -> dict[str, Observed]:
    """Return the desired things as they are now.

    Args:
        reader: Who reads.
        desired: The resources.
        enabled: The APIs that are on; None if that could not be found out: then they are taken for being on, and a call will tell.
    """
    resources = tuple(desired)
    reader.prefetch((resource.kind, resource.identity) for resource in resources)
    return {
        resource.address: _api(resource, enabled) if resource.kind is Kind.API else reader.get(resource.kind, resource.identity)
        for resource in resources
    }


def of_receipt(reader: Reader, receipt: Receipt, known: Iterable[str] = ()) -> dict[str, Observed]:
    """Return the receipt's things as they are now, except those known already. A moved member is present while any form of it is."""
    entries = {address: entry for address, entry in receipt.entries.items() if address not in set(known)}
    reader.prefetch((kind_of(address), entry.identity) for address, entry in entries.items())
    found: dict[str, Observed] = {}
    for address, entry in entries.items():
        forms = (reader.get(kind_of(address), identity) for identity in (entry.identity, *entry.former))
        found[address] = next((form for form in forms if form.status == "present"), reader.get(kind_of(address), entry.identity))
    return found


def _api(resource: Resource, enabled: frozenset[str] | None) -> Observed:
    return ABSENT if enabled is not None and resource.identity["service"] not in enabled else Observed("present")
