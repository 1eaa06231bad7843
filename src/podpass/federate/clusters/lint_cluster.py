# SPDX-License-Identifier: Apache-2.0
"""Names each fault of a cluster as it stands, and of a federation that asks for more than it needs. Pure."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Final

from podpass.config.federation import Federation
from podpass.federate.clusters.evidence import Evidence
from podpass.federate.clusters.finding import Finding, Standing, standing
from podpass.federate.clusters.google_audience import is_google_audience
from podpass.federate.clusters.lint import google_audience, issuer_form, jwks_uri, token_life
from podpass.federate.clusters.portrait import Portrait, advise
from podpass.federate.clusters.statement import ProjectedToken

_EVERYTHING: Final = frozenset({"roles/owner", "roles/editor"})
_CLUSTER: Final = "cluster"


def standing_of(evidence: Evidence, portrait: Portrait) -> Standing:
    """Return what a change is compared with."""
    kids = frozenset(key.kid for key in portrait.keys.value or ())
    return standing(evidence, portrait.issuer.value, portrait.audiences.value, kids)


def findings_of_cluster(evidence: Evidence, portrait: Portrait, tokens: Iterable[ProjectedToken] = ()) -> Iterator[Finding]:
    """Return every fault of a live cluster.

    Args:
        evidence: Its answers.
        portrait: What they mean.
        tokens: What its pods ask for.
    """
    for audience in portrait.audiences.value or ():
        if is_google_audience(audience):
            yield google_audience(_CLUSTER, audience)
    yield from _differing(evidence)
    yield from _issuer(portrait)
    for uri, issuers in dict.fromkeys((one.jwks_uri, one.issuers) for one in evidence.flags if one.jwks_uri):
        yield from jwks_uri(_CLUSTER, uri, issuers)
    obstacle = advise(portrait).obstacle
    if portrait.keys.value and "signing key" in obstacle:
        why = "Google refuses every token that this key signs."
        yield Finding("lint.key-algorithm", "error", _CLUSTER, obstacle, why, "Rotate to an RSA key of 2048 bits or more, or to P-256.")
    yield from _unpublished(evidence, portrait)
    for token in dict.fromkeys(tokens):
        yield from token_life(_CLUSTER, token)


def findings_of_federation(federation: Federation) -> Iterator[Finding]:
    """Return where a federation file gives more, or to more, than its workloads need."""
    where = federation.source.where
    found = ((selection.pattern, f"What {selection.path} selects") for selection in federation.selections)
    for workload, account in (*((workload, str(workload)) for workload in federation.workloads), *found):
        path = workload.path
        if workload.member == "attribute.sub":
            yield Finding(
                "lint.principal-set",
                "warning",
                where(f"{path}.member"),
                f"{account} is named by a principalSet over attribute.sub.",
                "It stands for one account only while the mapping of attribute.sub stays as it is; principal://…/subject/… says so itself.",
                "Write member: subject, or leave it out.",
            )
        for role in workload.roles:
            if role in _EVERYTHING or role.endswith((".admin", "Admin")):
                yield Finding(
                    "lint.broad-role",
                    "warning",
                    where(f"{path}.roles"),
                    f"{account} has {role} on the whole project {federation.google.project}.",
                    "It may then change and delete everything of that kind, its own permissions included.",
                    "Grant the least role on the one resource: grants: [{role: roles/storage.objectViewer, bucket: NAME}].",
                )
        yield from token_life(where(f"{path}.token"), _declared(account, workload.token.expiration))
    if federation.issuer.keys == "bucket":
        yield Finding(
            "lint.bucket-not-needed",
            "warning",
            where("spec.issuer.bucket"),
            "The issuer's documents are published in a bucket that everybody can read.",
            "Google needs none: keys that stand on the provider itself do, and no flag of the cluster has to change for them.",
            "Write issuer: {url: keep, keys: inline}, unless others than Google verify the cluster's tokens.",
        )


def _declared(pod: str, life: timedelta) -> ProjectedToken:
    return ProjectedToken(pod, "//iam.googleapis.com/", life)


def _differing(evidence: Evidence) -> Iterator[Finding]:
    kinds = {(one.issuers, frozenset(one.accepted_audiences)) for one in evidence.flags}
    if len(kinds) > 1:
        yield Finding(
            "lint.servers-differ",
            "error",
            _CLUSTER,
            f"Its {len(evidence.flags)} API servers have {len(kinds)} different sets of issuers and audiences.",
            "A token works or not by the server that the load balancer happens to choose.",
            "Bring the change to every control-plane node, or take it back where it was made.",
        )


def _issuer(portrait: Portrait) -> Iterator[Finding]:
    issuer = portrait.issuer.value
    if issuer and not issuer.startswith("https://"):
        yield issuer_form(_CLUSTER, issuer)


def _unpublished(evidence: Evidence, portrait: Portrait) -> Iterator[Finding]:
    """Judge an issuer that was given a public name: nothing is there, or not the cluster's keys."""
    seen, issuer = evidence.publication, portrait.issuer.value
    if seen is None or issuer is None or not _is_on_the_web(issuer, evidence):
        return
    cure = "Publish before switching: `podpass apply` does, from a file with this issuer.url. Or let Google read the keys inline."
    why = "Whoever looks the keys up there refuses every token of the cluster."
    if seen.is_public is False:  # no fault where nobody looks: Google has the keys inline
        yield Finding("lint.not-published", "warning", _CLUSTER, f"The issuer {issuer} publishes nothing usable: {seen.how}", why, cure)
    missing = [key.kid for key in portrait.keys.value or () if seen.is_public and key.kid not in seen.kids]
    if missing:
        what = f"The issuer {issuer} publishes {len(seen.kids)} keys, and not the cluster's {missing[0][:12]}…"
        yield Finding("lint.not-published", "error", _CLUSTER, what, why, cure)


def _is_on_the_web(issuer: str, evidence: Evidence) -> bool:
    """Whether the issuer is meant to be looked up: it is neither a name of the inside nor the API server's own address."""
    is_inside = evidence.publication is not None and evidence.publication.is_inside
    return issuer.startswith("https://") and not is_inside and not issuer.startswith(evidence.server.rstrip("/"))
