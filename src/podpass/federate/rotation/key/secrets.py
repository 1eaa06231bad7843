# SPDX-License-Identifier: Apache-2.0
"""Tokens in Secrets, of the time before TokenRequest: they never end, so a key that leaves takes them along."""

import base64
from collections.abc import Collection

from podpass.errors import MalformedTokenError
from podpass.kube.client import Json, KubeClient
from podpass.kube.fault import KubeRefusedError
from podpass.kube.lists import list_objects
from podpass.verify import parse

_TYPE = "kubernetes.io/service-account-token"


def lasting_tokens(cluster: KubeClient, kids: Collection[str]) -> list[str] | None:
    """Return the Secrets, `namespace/name`, whose token one of these keys signed; None where the operator may not look.

    They are read page by page; a token is looked at for its key's id only, and goes with its page.
    """
    items = list_objects(cluster, "/api/v1/secrets", "token Secrets", fields=f"type={_TYPE}")
    try:
        return sorted(_name(item) for item in items if item.get("type") == _TYPE and _kid(item) in kids)
    except KubeRefusedError:
        return None


def _name(item: Json) -> str:
    return f"{item['metadata'].get('namespace')}/{item['metadata'].get('name')}"


def _kid(item: Json) -> str | None:
    try:
        return parse(base64.b64decode((item.get("data") or {}).get("token", ""))).kid
    except (ValueError, MalformedTokenError):
        return None
