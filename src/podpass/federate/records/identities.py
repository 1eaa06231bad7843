# SPDX-License-Identifier: Apache-2.0
"""What the identity of a thing in a receipt may be: the forms that podpass itself writes, and no others.

A receipt is read from a config map, and what stands in it is deleted with the operator's rights, by a path made of these names. Whoever may
write config maps in podpass-system must not be able to name anything else: not the operator's own membership, nor another path. And the
address, which is what people read before they say yes, has to be that of the thing.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from podpass.errors import ConfigError
from podpass.federate.model import documents
from podpass.federate.model.resource import JSON, Kind, kind_of
from podpass.federate.model.roles import WORKLOAD_IDENTITY_USER
from podpass.names import GoogleServiceAccount, PoolName, Principal, ProviderName, ServiceAccountRef
from podpass.names.bucket import check_bucket_name
from podpass.names.project import check_project_id
from podpass.names.role import check_role

# Kubernetes: a key of a config map.
_KEY: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")
_DOCUMENTS: Final = frozenset({documents.KEYS_PATH, documents.DISCOVERY_PATH})
# Namespace and account, or attribute and namespace.
_ACCOUNT_OR_NAMESPACE: Final = re.compile("[^/:@]+/[^/:@]+")
# Two things of one address are told apart by a digest.
_TWIN: Final = re.compile("-[0-9a-f]{6}")
_TITLE_AND_TWIN: Final = re.compile("(:[a-z0-9-]*)?(-[0-9a-f]{6})?")


def check(address: str, identity: Mapping[str, JSON]) -> None:
    """Refuse what podpass would not have written.

    Raises:
        ValueError: With the address.
        KeyError: A name is missing.
    """
    if not address.isprintable():
        raise ValueError(repr(address))
    kind, name = kind_of(address), address.partition("/")[2]
    _check_members(kind, identity)
    try:
        _CHECKS[kind](identity)
    except ConfigError as error:
        raise ValueError(address) from error
    if not _is_named(kind, identity, name):
        raise ValueError(address)


def _check_members(kind: Kind, identity: Mapping[str, JSON]) -> None:
    """Refuse a member that is missing, no text, unfit for a terminal, or that this kind does not have: another kind's may be read by it."""
    texts = {name: text for name, text in identity.items() if not (kind.is_policy_item and name == "condition")}
    if texts.keys() != _MEMBERS[kind] or not all(isinstance(text, str) and text.isprintable() for text in texts.values()):
        raise ValueError(sorted(texts))
    condition = identity.get("condition", {})
    if not condition.keys() <= {"title", "description", "expression"}:
        raise ValueError(sorted(condition))
    # People write conditions in several lines.
    if not all(line.isprintable() for text in condition.values() for line in text.replace("\t", " ").split("\n")):
        raise ValueError(sorted(condition))


def _pool(identity: Mapping[str, JSON]) -> None:
    PoolName.parse(str(PoolName(str(identity["project"]), str(identity["pool"]))))


def _provider(identity: Mapping[str, JSON]) -> None:
    pool = PoolName(str(identity["project"]), str(identity["pool"]))
    ProviderName.parse(str(ProviderName(pool, str(identity["provider"]))))


def _account(identity: Mapping[str, JSON]) -> None:
    check_project_id(str(identity["project"]))
    _email(str(identity["email"]))


def _email(text: str) -> None:
    if "@" not in text:
        raise ValueError(text)
    GoogleServiceAccount.parse(text)


def _bucket(identity: Mapping[str, JSON]) -> None:
    check_bucket_name(str(identity["bucket"]))


def _config_map(identity: Mapping[str, JSON]) -> None:
    # A config map's name has the form of a service account's.
    ServiceAccountRef(str(identity["namespace"]), str(identity["name"]))
    if not _KEY.fullmatch(str(identity["key"])):
        raise ValueError(identity["key"])


def _object(identity: Mapping[str, JSON]) -> None:
    _bucket(identity)
    if identity["object"] not in _DOCUMENTS:
        raise ValueError(identity["object"])


def _binding(identity: Mapping[str, JSON]) -> None:
    _policy_item(identity)
    if identity["role"] != WORKLOAD_IDENTITY_USER or not str(identity["target"]).startswith("account/"):
        raise ValueError(identity["role"])


def _policy_item(identity: Mapping[str, JSON]) -> None:
    kind, _, name = str(identity["target"]).partition("/")
    {"project": check_project_id, "account": _email, "bucket": check_bucket_name}[kind](name)
    check_role(str(identity["role"]))
    member = str(identity["member"])
    if member.startswith("serviceAccount:"):
        _email(member.removeprefix("serviceAccount:"))
    elif member != "allUsers":
        Principal.parse(member)
    elif kind != "bucket":
        raise ValueError(member)


_POLICY_ITEM: Final = frozenset({"target", "role", "member"})
_MEMBERS: Final[Mapping[Kind, frozenset[str]]] = {
    Kind.POOL: frozenset({"project", "pool"}),
    Kind.PROVIDER: frozenset({"project", "pool", "provider"}),
    Kind.ACCOUNT: frozenset({"project", "email"}),
    Kind.BINDING: _POLICY_ITEM,
    Kind.GRANT: _POLICY_ITEM,
    Kind.BUCKET: frozenset({"project", "bucket"}),
    Kind.OBJECT: frozenset({"bucket", "object"}),
    Kind.CONFIG_MAP: frozenset({"namespace", "name", "key"}),
}
_CHECKS: Final[Mapping[Kind, Callable[[Mapping[str, JSON]], None]]] = {
    Kind.POOL: _pool,
    Kind.PROVIDER: _provider,
    Kind.ACCOUNT: _account,
    Kind.BINDING: _binding,
    Kind.GRANT: _policy_item,
    Kind.BUCKET: _bucket,
    Kind.OBJECT: _object,
    Kind.CONFIG_MAP: _config_map,
}


def _is_named(kind: Kind, identity: Mapping[str, JSON], name: str) -> bool:
    """Whether this is what the address of such a thing says after its kind."""
    if kind is Kind.BINDING:
        return _ACCOUNT_OR_NAMESPACE.fullmatch(name) is not None
    if kind is Kind.GRANT:
        return _is_grant(identity, name)
    if kind is Kind.ACCOUNT:
        account = GoogleServiceAccount(str(identity["email"]))
        return (account.account_id, account.project) == (name, identity["project"])
    expected = "/".join(str(identity[member]) for member in _IN_ADDRESS[kind])
    return name == expected or (kind is Kind.CONFIG_MAP and _is_twin(name, expected))


def _is_grant(identity: Mapping[str, JSON], name: str) -> bool:
    """Whether it is WHO:ROLE@TARGET. Who a principal is, only the mapping knows; a condition's title may follow, and a twin's digest."""
    who, _, rest = name.partition(":")
    member, gets = str(identity["member"]), f"{str(identity['role']).removeprefix('roles/')}@{identity['target']}"
    email = member.removeprefix("serviceAccount:")
    is_who = _ACCOUNT_OR_NAMESPACE.fullmatch(who) is not None if "://" in member else who in {email, email.partition("@")[0]}
    return is_who and rest.startswith(gets) and _TITLE_AND_TWIN.fullmatch(rest.removeprefix(gets)) is not None


def _is_twin(name: str, expected: str) -> bool:
    return name.startswith(expected) and _TWIN.fullmatch(name.removeprefix(expected)) is not None


_IN_ADDRESS: Final[Mapping[Kind, tuple[str, ...]]] = {
    Kind.POOL: ("pool",),
    Kind.PROVIDER: ("provider",),
    Kind.BUCKET: ("bucket",),
    Kind.OBJECT: ("bucket", "object"),
    Kind.CONFIG_MAP: ("namespace", "name"),
}
