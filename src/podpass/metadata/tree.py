# SPDX-License-Identifier: Apache-2.0
"""The tree of one workload: every path that is answered, and with which value.

It is made once for what is known of a workload, as a table from path to node, so that a request costs one look-up. A path that is not in
the table does not exist, however it is spelled: there is nothing to normalize, and nothing to get wrong in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

TOP: Final = "/computeMetadata/v1/"
# What every Google library asks for unless told otherwise; GKE's answer for a workload begins with it. [K]
SCOPES: Final = ("https://www.googleapis.com/auth/cloud-platform",)

Scalar = str | int | tuple[str, ...]
"""A text, a number, or lines."""


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that the clients believe to run on.

    Attributes:
        name: Of the node; of the pod where the node is not known.
        number: Stands for the numeric id of a virtual machine.
        zone: Google's name of the zone nearest to the cluster; None: nobody has said.
        attributes: `cluster-name`, `cluster-location`, `cluster-uid`, as far as they are known.
    """

    name: str
    number: int
    zone: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tree is made of.

    Attributes:
        email: Who the tokens speak for: the Google service account, or the name of the pool for a workload that acts as itself.
        project_number: Of the project that the pool belongs to.
        project_id: The project that clients shall take for theirs; None: nobody has said.
        machine: Where they believe to run.
        universe: Which of Google's clouds.
        no_id_token: Why there are no ID tokens and what to do about it; None: there are.
    """

    email: str
    project_number: str
    project_id: str | None
    machine: Machine
    universe: str = "googleapis.com"
    no_id_token: str | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A leaf with a value."""

    content: Scalar


@dataclass(frozen=True, slots=True)
class Missing:
    """A leaf that the operator has not given a value; `cure` says how. It is answered with 404 and in no listing."""

    cure: str


@dataclass(frozen=True, slots=True)
class AccessTokenLeaf:
    """Where access tokens are."""


@dataclass(frozen=True, slots=True)
class IdTokenLeaf:
    """Where ID tokens are; `refusal` says why there are none."""

    refusal: str | None


@dataclass(frozen=True, slots=True)
class Directory:
    """A node with children, by name.

    Attributes:
        children: In the order of their names.
        keeps_names: Its members keep their names in JSON; everywhere else JSON has them in camel case.
    """

    children: Mapping[str, "Node"]
    keeps_names: bool = False


Node = Directory | Value | Missing | AccessTokenLeaf | IdTokenLeaf
Tree = Mapping[str, Node]
"""Every node by its path; those of directories end in a slash."""


def tree_of(facts: Facts) -> Tree:
    """Return the tree of a workload."""
    version = Directory({"instance": _instance(facts), "project": _project(facts), "universe": _universe(facts)})
    top = Directory({"v1": version})
    aliases = {f"{TOP}universe/universe_domain": Value(facts.universe)}  # an older spelling, which some clients ask for. [K]
    return MappingProxyType({**dict(_paths("/computeMetadata/", top)), **aliases})


def _instance(facts: Facts) -> Directory:
    machine = facts.machine
    zone: Node = Missing("The zone is not known: give podpass metadata-server --zone.")
    if machine.zone:
        zone = Value(f"projects/{facts.project_number}/zones/{machine.zone}")
    account = _account(facts)
    accounts = Directory(dict(sorted({facts.email: account, "default": account}.items())), keeps_names=True)
    attributes = Directory({name: Value(text) for name, text in sorted(machine.attributes.items())}, keeps_names=True)
    children: dict[str, Node] = {"attributes": attributes, "hostname": Value(machine.name), "id": Value(machine.number)}
    return Directory({**children, "name": Value(machine.name), "service-accounts": accounts, "zone": zone})


def _account(facts: Facts) -> Directory:
    values = {"aliases": Value(("default",)), "email": Value(facts.email)}
    return Directory({**values, "identity": IdTokenLeaf(facts.no_id_token), "scopes": Value(SCOPES), "token": AccessTokenLeaf()})


def _project(facts: Facts) -> Directory:
    name: Node = Missing("The project's id is not known: give podpass metadata-server --project-id, or GOOGLE_CLOUD_PROJECT.")
    if facts.project_id:
        name = Value(facts.project_id)
    return Directory({"numeric-project-id": Value(int(facts.project_number)), "project-id": name})


def _universe(facts: Facts) -> Directory:
    return Directory({"universe-domain": Value(facts.universe)})


def _paths(path: str, node: Directory) -> Iterator[tuple[str, Node]]:
    yield path, node
    for name, child in node.children.items():
        if isinstance(child, Directory):
            yield from _paths(f"{path}{name}/", child)
        else:
            yield path + name, child
