# SPDX-License-Identifier: Apache-2.0
"""A first federation file, from what is known of cluster and project. Pure."""

import re
from collections.abc import Iterable
from typing import Final

from podpass.names import ServiceAccountRef
from podpass.names.pool import check_id

_ID_LIMIT_CHARS: Final = 32
_LEAST_CHARS: Final = 4

_HEAD: Final = """# Written by `podpass init`. Name your workloads, then: podpass plan
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {{name: {name}}}
spec:
  cluster: {{context: {context}}}
  # The cluster keeps its issuer and keys; Google gets the public keys inline.
  google:
    project: {project}
    pool: {{id: {name}}}        # one pool a cluster
    provider: {{id: cluster}}
"""
_WORKLOAD: Final = """    - serviceAccount: {account}
      roles: []                # on the project, to the workload's own principal; or name a googleServiceAccount
      credentials: {{configMap: {config_map}}}
"""
_EXAMPLE: Final = ServiceAccountRef("default", "my-workload")


def draft(context: str, project: str, workloads: Iterable[ServiceAccountRef]) -> str:
    """Return a federation file.

    Args:
        context: The kubeconfig's context; it names the federation too.
        project: The project's id.
        workloads: The Kubernetes accounts to begin with; none: an example, to be renamed.
    """
    text = _HEAD.format(name=identifier(context), context=_quoted(context), project=project)
    chosen = tuple(workloads) or (_EXAMPLE,)
    parts = (_WORKLOAD.format(account=account, config_map=f"{account.name[:50]}-credentials") for account in chosen)
    return text + "  workloads:\n" + "".join(parts)


def identifier(text: str) -> str:
    """Return an id that Google takes for a pool, as near to `text` as can be."""
    slug = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-").removeprefix("gcp-")[:_ID_LIMIT_CHARS].strip("-")
    found = slug if len(slug) >= _LEAST_CHARS else f"cluster-{slug}".strip("-")
    check_id("workload identity pool", found)
    return found


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
