# SPDX-License-Identifier: Apache-2.0
"""What the identity of a thing in a receipt may be: the forms that podpass itself writes, and no others.

A receipt is read from a config map, and what stands in it is deleted with the operator's rights, by a path made of these names. Whoever may
write config maps in podpass-system must not be able to name anything else: not the operator's own membership, nor another path.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from podpass.errors import ConfigError
from podpass.federate.resource import JSON, Kind, kind_of
from podpass.names import GoogleServiceAccount, PoolName, Principal, ProviderName, ServiceAccountRef
from podpass.names.bucket import check_bucket_name
from podpass.names.project import check_project_id
from podpass.names.role import check_role

# Kubernetes: a key of a config map.
_KEY: Final = re.compile(r"[-._A-Za-z0-9]{1,253}")


def check(address: str, identity: Mapping[str, JSON]) -> None:
    """Refuse what podpass would not have written.

    Raises:
        ValueError: With the address.
        KeyError: A name is missing.
    """
    if not address.isprintable():
        raise ValueError(repr(address))
    try:
        _CHECKS[kind_of(address)](identity)
    except ConfigError as error:
        raise ValueError(address) from error


def was(before: Mapping[str, JSON], now: Mapping[str, JSON]) -> bool:
    """Tell whether a member of a policy can have been this one before: what is replaced is taken away unasked.

    The role stands in the address; the condition may be another, and of a principal the pool and what the mapping makes of the account.
    A service account is the same or another thing.
    """
    old, new = str(before["member"]), str(now["member"])
    return before["role"] == now["role"] and (old == new or _project(old) == _project(new) != "")


def _project(member: str) -> str:
    """Return the project of a principal's pool; empty: it is none."""
    try:
        return Principal.parse(member).pool.project
    except ConfigError:
        return ""


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


_CHECKS: Final[Mapping[Kind, Callable[[Mapping[str, JSON]], None]]] = {
    Kind.POOL: _pool,
    Kind.PROVIDER: _provider,
    Kind.ACCOUNT: _account,
    Kind.BINDING: _policy_item,
    Kind.GRANT: _policy_item,
    Kind.BUCKET: _bucket,
    Kind.OBJECT: _bucket,
    Kind.CONFIG_MAP: _config_map,
}
