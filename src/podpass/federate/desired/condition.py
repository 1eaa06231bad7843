# SPDX-License-Identifier: Apache-2.0
"""The attribute condition that podpass writes from the workloads: these accounts, all of these namespaces, and no others may enter."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from podpass.config.federation import GENERATED, Federation
from podpass.names import ServiceAccountRef
from podpass.wif.limits import CONDITION_LIMIT_CHARS

NAMESPACE = "assertion['kubernetes.io']['namespace']"
_NAME = "assertion['kubernetes.io']['serviceaccount']['name']"


def generated(accounts: Iterable[ServiceAccountRef], namespaces: Iterable[str] = ()) -> str:
    """Return an expression that is true for the tokens of these accounts and of these namespaces only; for nobody if there are none.

    Where naming each account by its subject passes Google's limit, they are named by namespace, which is shorter.

    The names need no quoting: Kubernetes allows neither quotes nor backslashes in them.
    """
    wholes = sorted(set(namespaces))
    known = sorted(account for account in set(accounts) if account.namespace not in wholes)
    whole = [f"{NAMESPACE} {_among(wholes)}"] if wholes else []
    by_subject = " || ".join([*([f"assertion.sub {_among([one.subject for one in known])}"] if known else []), *whole]) or "false"
    if len(by_subject) <= CONDITION_LIMIT_CHARS:
        return by_subject
    by_namespace = " || ".join([*_by_namespace(known), *whole])
    return by_namespace if len(by_namespace) < len(by_subject) else by_subject


def _by_namespace(accounts: list[ServiceAccountRef]) -> Iterator[str]:
    for namespace, group in groupby(accounts, lambda account: account.namespace):
        yield f"({NAMESPACE} == '{namespace}' && {_NAME} {_among([account.name for account in group])})"


def _among(values: list[str]) -> str:
    quoted = [f"'{value}'" for value in values]
    return f"== {quoted[0]}" if len(quoted) == 1 else f"in [{', '.join(quoted)}]"


def of(federation: Federation) -> str:
    """Return the provider's condition; empty where the file says `none`, and where somebody else keeps the provider."""
    if federation.google.provider.existing:
        return ""
    written = federation.google.attribute_condition
    if written is not GENERATED:
        return written or ""
    accounts = (one.service_account for one in federation.workloads if not one.is_namespace)
    return generated(accounts, (one.service_account.namespace for one in federation.workloads if one.is_namespace))
