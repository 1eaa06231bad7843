# SPDX-License-Identifier: Apache-2.0
"""The other federations of this cluster, by their receipts: which members of policies they have given, too.

A role that two federations give to one Google account is one member of one policy. It stands in the receipt of each, and goes with the last
of them. A federation of another cluster cannot be seen from here.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from podpass.errors import ConfigError
from podpass.federate.model.plan import Caution
from podpass.federate.model.resource import JSON, Observed, Resource, kind_of
from podpass.federate.records.receipt import KEY, NAMESPACE, Receipt, State, config_map_name
from podpass.kube.client import KubeClient
from podpass.kube.config_maps import list_config_maps
from podpass.kube.fault import FaultKind, KubeRefusedError

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Siblings:
    """What other federations have given.

    Attributes:
        given: A member of a policy, as text, to the federation that has given it.
    """

    given: Mapping[str, str] = field(default_factory=dict)

    def giver(self, identity: Mapping[str, JSON]) -> str:
        """Return which federation has given a member, too; empty: none that is known."""
        return self.given.get(_key(identity), "")


NONE = Siblings()


def read(cluster: KubeClient, federation: str) -> Siblings:
    """Read the receipts of the cluster's other federations. Who may not list them sees none; what is no receipt is passed over."""
    try:
        found = list_config_maps(cluster, NAMESPACE)
    except KubeRefusedError as error:
        if error.kind is not FaultKind.FORBIDDEN:
            raise
        return NONE
    texts = {name: one.data[KEY] for name, one in found.items() if KEY in one.data and name != config_map_name(federation)}
    return Siblings(
        {_key(identity): one.federation for name, text in texts.items() if (one := _receipt(name, text)) for identity in _given(one)}
    )


def _receipt(name: str, text: str) -> Receipt | None:
    try:
        receipt = Receipt.from_text(text, origin=name)
    except ConfigError:
        return None
    return receipt if config_map_name(receipt.federation) == name else None


def _given(receipt: Receipt) -> Iterator[Mapping[str, JSON]]:
    for address, entry in receipt.entries.items():
        if kind_of(address).is_policy_item and entry.state is not State.ADOPTED:
            yield entry.identity


def _key(identity: Mapping[str, JSON]) -> str:
    return json.dumps(identity, sort_keys=True)


def cautions(
    siblings: Siblings, desired: Iterable[Resource], observed: Mapping[str, Observed], receipt: Receipt, others_accounts: frozenset[str]
) -> Iterator[Caution]:
    """Return the roles of other people's accounts that were there before, given by nobody whom this cluster knows.

    Args:
        siblings: The other federations of this cluster.
        desired: Everything that the file asks for.
        observed: All of it, as it is.
        receipt: What this federation has made.
        others_accounts: The emails of the accounts that the file only refers to.
    """
    found: dict[str, list[str]] = {}
    for one in desired:
        email = str(one.identity.get("member", "")).removeprefix("serviceAccount:")
        is_there = one.kind.is_policy_item and one.address not in receipt.entries and observed[one.address].status == "present"
        if email in others_accounts and is_there and not siblings.giver(one.identity):
            found.setdefault(email, []).append(f"{one.identity['role']} on {one.identity['target']}")
    for email, roles in found.items():
        shown = ", ".join(roles[:_SHOWN]) + (f" and {len(roles) - _SHOWN} more" if len(roles) > _SHOWN else "")
        yield Caution(
            "shared-grant",
            f"{email} has {shown} already, and no federation of this cluster gave it. Who did may take it away: so does `podpass destroy` "
            "of a federation in another cluster that gives the same, which cannot be seen from here. `podpass apply` brings it back.",
        )
