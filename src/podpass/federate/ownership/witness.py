# SPDX-License-Identifier: Apache-2.0
"""Who besides the receipt says that a thing is podpass's. Pure.

The receipt is a config map, and whoever may write it could have anybody's role taken away, or anybody's bucket deleted, with the operator's
rights. So nothing goes on its word alone. Two others are heard: the file, which is the operator's, and the marks, which nobody sets without
rights at Google, or in the config map's own namespace.

A member of a policy has no place for a mark. It is known by whom it names: a principal of the federation's own pool, an account of its
own, everybody for a bucket of its own. Own is what the file calls so or what bears the mark. What the file refers to (`existing: true`, an
email) serves others too: there only what the file gives is known.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from podpass.config.federation import Federation
from podpass.errors import ConfigError
from podpass.federate.desired import offers
from podpass.federate.desired.offers import Offer, offer_of
from podpass.federate.export.script import binding_command
from podpass.federate.model.marks import Mark
from podpass.federate.model.plan import Caution
from podpass.federate.model.resource import JSON, Kind, Observed, Resource, kind_of
from podpass.federate.model.roles import PUBLIC_READER
from podpass.federate.records.receipt import Entry, Receipt
from podpass.google.policy import Policy, has_member
from podpass.names import PoolName, Principal

_EVERYBODY = "allUsers"


@dataclass(frozen=True, slots=True)
class Witness:
    """What the file and the marks bear out. One of nothing knows nothing.

    Attributes:
        own: The federation's own pools, by the project's number, and the emails of its own Google accounts.
        buckets: The buckets that bear its mark.
        referred: Pools and accounts that the file refers to; `allUsers`, where it names a bucket for its issuer.
        given: What the file gives on policies.
    """

    own: frozenset[PoolName | str] = frozenset()
    buckets: frozenset[str] = frozenset()
    referred: frozenset[PoolName | str] = frozenset()
    given: frozenset[Offer] = frozenset()

    def knows(self, identity: Mapping[str, JSON]) -> bool:
        """Whether a member of a policy can be one that podpass has put there."""
        who = _who(str(identity["member"]))
        is_own = who in self.own or (who == _EVERYBODY and str(identity["target"]).removeprefix("bucket/") in self.buckets)
        return is_own or (who in self.referred and offer_of(identity) in self.given)

    def was(self, before: Mapping[str, JSON], now: Mapping[str, JSON]) -> bool:
        """Tell whether a member of a policy can have been this one before: what is replaced is taken away unasked.

        The role stands in the address; the condition may be another, the Google account that a workload acts as, and of a principal the
        pool and what the mapping makes of the account.
        A Google account is the same or another thing.
        """
        if before["role"] != now["role"]:
            return False
        are_principals = all(isinstance(_who(str(one["member"])), PoolName) for one in (before, now))
        return bool(before["member"] == now["member"] or (are_principals and self.knows(before)))

    def bears_out(self, kind: Kind, entry: Entry, observed: Observed, mark: Mark) -> bool:
        """Whether a thing goes that the receipt says podpass made."""
        if kind.is_policy_item:
            return self.knows(entry.identity)
        # Whoever writes a document anew may leave out its metadata; the bucket is ours all the same.
        return mark.signed(observed.mark) or (kind is Kind.OBJECT and entry.identity["bucket"] in self.buckets)


NOBODY = Witness()


def of(federation: Federation | None, receipt: Receipt, found: Mapping[str, Observed], number: str) -> Witness:
    """Return who speaks for the receipt.

    Args:
        federation: The file; None: there is none at hand. One of another name or project says nothing of what was made here.
        receipt: What podpass made.
        found: Things of the receipt as they are now, each read where its entry says that it is; others are not heard.
        number: That of the receipt's project.
    """
    mark = Mark(receipt.federation, receipt.cluster)
    signed = {address: receipt.entries[address].identity for address, one in found.items() if mark.signed(one.mark)}
    here = [(kind_of(address), identity) for address, identity in signed.items() if identity.get("project") == receipt.project]
    pools = {PoolName(number, str(identity["pool"])) for kind, identity in here if kind is Kind.POOL}
    accounts = {str(identity["email"]) for kind, identity in here if kind is Kind.ACCOUNT}
    marked = Witness(
        own=frozenset(pools | accounts), buckets=frozenset(str(one["bucket"]) for address, one in signed.items() if _is_bucket(address))
    )
    if federation is None or (federation.name, federation.google.project) != (receipt.federation, receipt.project):
        return marked
    return _with_file(marked, federation, number)


def _with_file(marked: Witness, federation: Federation, number: str) -> Witness:
    google, bucket = federation.google, federation.issuer.bucket
    own, referred = set[PoolName | str](marked.own), set[PoolName | str]()
    (referred if google.pool.existing else own).add(PoolName(number, google.pool.id))
    given = set[Offer]()
    for pattern in federation.patterns:
        given |= {*offers.binding(pattern), *offers.roles(pattern, google.project)}
        if pattern.google_service_account:
            (referred if pattern.account_is_existing else own).add(pattern.google_service_account.email)
    if bucket:
        referred.add(_EVERYBODY)
        given.add((f"bucket/{bucket.name}", PUBLIC_READER, ""))
    return Witness(frozenset(own), marked.buckets, frozenset(referred), frozenset(given))


def cautions(
    witness: Witness, receipt: Receipt, desired: Iterable[Resource], read: Mapping[str, Policy], project: str
) -> Iterator[Caution]:
    """Return the members that the receipt alone calls former ones of what the file asks for: they stay.

    Args:
        witness: Who speaks for the receipt.
        receipt: What podpass made.
        desired: Everything that the file asks for.
        read: The policies, by target.
        project: The federation's.
    """
    for resource in desired:
        entry = receipt.entries.get(resource.address)
        if entry is None or not resource.kind.is_policy_item:
            continue
        for one in (entry.identity, *entry.former):
            is_there = has_member(read.get(str(one["target"]), {}), one["role"], one["member"], one.get("condition"))
            if is_there and dict(one) != dict(resource.identity) and not witness.was(one, resource.identity):
                yield Caution(
                    "former-member",
                    f"The receipt says that podpass gave {one['member']} {one['role']} on {one['target']} before. Nothing else bears that "
                    f"out, so it stays. If nobody needs it: `{binding_command('remove', one, project)}`.",
                )


def _is_bucket(address: str) -> bool:
    return kind_of(address) is Kind.BUCKET


def _who(member: str) -> PoolName | str:
    """Return whom a member names: a principal's pool, an account's email, or the member itself."""
    try:
        return Principal.parse(member).pool
    except ConfigError:
        return member.removeprefix("serviceAccount:")
