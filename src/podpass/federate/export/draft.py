# SPDX-License-Identifier: Apache-2.0
"""A first federation file, from what is known of cluster and project. Pure."""

import re
import textwrap
from collections.abc import Iterable
from typing import Final

from podpass.federate.clusters.portrait import Advice, Portrait
from podpass.names import ServiceAccountRef
from podpass.names.pool import check_id

_ID_LIMIT_CHARS: Final = 32
_LEAST_CHARS: Final = 4
# What k3s, kubeadm, MicroK8s, kind and minikube call the context of every cluster, or of the first.
_OF_MANY: Final = frozenset(
    {"default", "kubernetes", "kubernetes-admin-kubernetes", "cluster", "local", "microk8s", "kind-kind", "minikube", "admin-talos-default"}
)

_HEAD: Final = """# Written by `podpass init`. Name your workloads, then: podpass plan
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {{name: {name}}}
spec:
  cluster: {{context: {context}}}
{facts}  issuer: {{url: keep, keys: {keys}}}
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
_UNASKED: Final = "The cluster was not asked. It keeps its issuer and keys; Google gets a copy of the public keys."
_COMMENT_CHARS: Final = 118


def draft(
    context: str,
    project: str,
    workloads: Iterable[ServiceAccountRef],
    known: tuple[Portrait, Advice] | None = None,
    *,
    fingerprint: str = "",
) -> str:
    """Return a federation file.

    Args:
        context: The kubeconfig's context; it names the federation too.
        project: The project's id.
        workloads: The Kubernetes accounts to begin with; none: an example, to be renamed.
        known: What is known of the cluster, and what follows; None: it could not be asked.
        fingerprint: Some letters that are this cluster's own, for contexts whose names are many clusters'.
    """
    keys = known[1].keys if known else "inline"
    facts = "".join(_comment(line) for line in (_facts(*known) if known else [_UNASKED]))
    text = _HEAD.format(name=identifier(context, fingerprint), context=_quoted(context), project=project, facts=facts, keys=keys)
    chosen = tuple(workloads) or (_EXAMPLE,)
    parts = (_WORKLOAD.format(account=account, config_map=f"{account.name[:50]}-credentials") for account in chosen)
    return text + "  workloads:\n" + "".join(parts)


def identifier(context: str, fingerprint: str = "") -> str:
    """Return an id that Google takes for a pool, as near to the context's name as can be.

    A name that says too little, or is too long, would give two clusters one pool; the fingerprint tells them apart.
    """
    is_arn = context.startswith("arn:")  # arn:aws:eks:REGION:ACCOUNT:cluster/NAME
    slug = re.sub(r"[^a-z0-9]+", "-", (context.rpartition("/")[2] if is_arn else context).lower()).strip("-").removeprefix("gcp-")
    if fingerprint and (is_arn or slug in _OF_MANY or len(slug) > _ID_LIMIT_CHARS):
        slug = f"{slug[: _ID_LIMIT_CHARS - 1 - len(fingerprint)].strip('-')}-{fingerprint}"
    slug = slug[:_ID_LIMIT_CHARS].strip("-")
    found = slug if len(slug) >= _LEAST_CHARS else f"cluster-{slug}".strip("-")
    check_id("workload identity pool", found)
    return found


def _facts(portrait: Portrait, advice: Advice) -> list[str]:
    """Return what the file says about the cluster: each fact with its source, then the way that was chosen and why."""
    facts = [f"{name}: {value or 'unknown'} ({how})" for name, value, how in portrait.lines()]
    return [*facts, advice.why, *([f"But: {advice.obstacle}"] if advice.obstacle else [])]


def _comment(text: str) -> str:
    """Write a line as a comment. What a cluster says of itself may hold anything, line breaks included."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    lines = textwrap.wrap(plain, _COMMENT_CHARS, break_long_words=False, break_on_hyphens=False)
    return "".join(f"  # {'' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
