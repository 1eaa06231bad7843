# SPDX-License-Identifier: Apache-2.0
"""What the federation file's keys become, with the rules over several keys of one mapping; paths and Google accounts stay as written.

`fields` says which keys there are. Rules over several mappings are in `cross_checks`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

from podpass.config import federation, texts
from podpass.config.federation import (
    DEFAULT_AT_MOST,
    DEFAULT_MAPPING,
    DEFAULT_NAMESPACE_MEMBER,
    DEFAULT_TOKEN_EXPIRATION,
    AccountSelector,
    CredentialsSettings,
    GoogleSettings,
    Grant,
    GrantCondition,
    IssuerSettings,
    ProviderSettings,
    TokenSettings,
)
from podpass.errors import ConfigError
from podpass.names import ServiceAccountRef
from podpass.names.labels import LabelSelector, Requirement
from podpass.names.role import BASIC_ROLES

# Of Google's ten audiences: the present provider, the other one of a move, and three that were.
_MOST_FORMER_IDS = 3


@dataclass(frozen=True, slots=True)
class ClusterDraft:
    """`spec.cluster` with its paths as written."""

    kubeconfig: str | None = None
    context: str | None = None
    distribution: federation.Distribution = "auto"
    talosconfig: str | None = None
    node_command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadDraft:
    """A workload whose Google account still waits for the project; one of `service_account`, `namespace` and `selector` is there."""

    path: str
    service_account: ServiceAccountRef | None = None
    namespace: str | None = None
    selector: AccountSelector | None = None
    google_service_account: str | None = None
    member: str = "subject"
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    token: TokenSettings = field(default_factory=TokenSettings)
    credentials: CredentialsSettings | None = None


@dataclass(frozen=True, slots=True)
class SpecDraft:
    """`spec`, as far as it could be read."""

    cluster: ClusterDraft = field(default_factory=ClusterDraft)
    issuer: IssuerSettings = field(default_factory=IssuerSettings)
    google: GoogleSettings | None = None
    workloads: tuple[WorkloadDraft, ...] = ()


def talos(*, talosconfig: str) -> str:
    """Return the path alone."""
    return talosconfig


def nodes(*, command: tuple[str, ...]) -> tuple[str, ...]:
    """Return the command alone."""
    return texts.node_command(command)


def cluster(*, talos: str | None = None, nodes: tuple[str, ...] = (), **rest: str) -> ClusterDraft:
    """Return `spec.cluster`; mappings of one key are flat in it."""
    return ClusterDraft(talosconfig=talos, node_command=nodes, **rest)  # type: ignore[arg-type]  # `distribution` was read as one of its words


def provider(*, former_ids: tuple[str, ...] = (), **rest: object) -> ProviderSettings:
    """Return the provider; ConfigError for former ids that are too many, doubled or the present one."""
    if len(former_ids) > _MOST_FORMER_IDS:
        what = f"{len(former_ids)} former ids are listed; {_MOST_FORMER_IDS} are possible."
        why = "Google's provider takes ten audiences, and each id is two of them."
        raise ConfigError(what, why, "Keep those that manifests still name.", code="config.former-ids")
    if rest.get("id") in former_ids or len(set(former_ids)) != len(former_ids):
        raise ConfigError("A former id is the present one, or is listed twice.", "", "Remove it.", code="config.former-ids")
    return ProviderSettings(former_ids=former_ids, **rest)  # type: ignore[arg-type]  # each was read by its form


def google(*, attribute_mapping: Mapping[str, str] = DEFAULT_MAPPING, **rest: object) -> GoogleSettings:
    """Return Google's side; ConfigError for a mapping without google.subject."""
    if "google.subject" not in attribute_mapping:
        raise ConfigError(
            "The attribute mapping has no google.subject.",
            "Google demands it of every provider.",
            "Add google.subject: assertion.sub to attributeMapping.",
            code="config.attribute",
        )
    return GoogleSettings(attribute_mapping=attribute_mapping, **rest)  # type: ignore[arg-type]  # each was read by its form


def grant(*, role: str, bucket: str | None = None, project: str | None = None, condition: GrantCondition | None = None) -> Grant:
    """Return the grant; ConfigError unless it names one resource and a role that takes its condition."""
    if (bucket is None) == (project is None):
        what = "This grant names no resource." if bucket is None else "This grant names a bucket and a project."
        raise ConfigError(what, "", "Write exactly one of bucket and project.", code="config.grant")
    if condition is not None and role in BASIC_ROLES:
        # Google (IAM, conditions overview): basic roles take none. [K]
        raise ConfigError(f"{role} takes no condition.", "It is a basic role.", "Grant a narrower role.", code="config.grant")
    return Grant(role, bucket, project, condition)


def token(*, expiration: int = int(DEFAULT_TOKEN_EXPIRATION.total_seconds())) -> TokenSettings:
    """Return the settings of the token; `expiration` in seconds."""
    return TokenSettings(timedelta(seconds=expiration))


def selector(
    *,
    match_labels: Mapping[str, str] = MappingProxyType({}),
    match_expressions: tuple[Requirement, ...] = (),
    namespaces: tuple[str, ...] = (),
    namespace_selector: LabelSelector | None = None,
    everything: bool = False,
    at_most: int = DEFAULT_AT_MOST,
) -> AccountSelector:
    """Return the selector; ConfigError where it says two things about namespaces, or takes accounts without a label unsaid."""
    labels = LabelSelector.of(match_labels, match_expressions)
    if namespaces and namespace_selector is not None:
        hint = "Write one of namespaces and namespaceSelector; for both, make two workloads."
        raise ConfigError("This selector names namespaces, and selects some.", "", hint, code="config.selector")
    if labels.takes_unlabelled and not everything:
        why = "Whoever makes one there would have these roles without asking for them."
        raise ConfigError(
            "This selector takes every account, also one without a label.",
            why,
            "Write matchLabels, or say everything: true.",
            code="config.selector",
        )
    if everything and not labels.takes_unlabelled:
        raise ConfigError(
            "everything: true stands beside labels that an account has to have.", "", "Remove it, or the labels.", code="config.selector"
        )
    return AccountSelector(labels, namespaces, namespace_selector, at_most)


def namespace_selector(
    *, match_labels: Mapping[str, str] = MappingProxyType({}), match_expressions: tuple[Requirement, ...] = ()
) -> LabelSelector:
    """Return the selector of namespaces; ConfigError where it takes every one."""
    found = LabelSelector.of(match_labels, match_expressions)
    if not found.requirements:
        raise ConfigError(
            "This selector takes every namespace.", "", "Write matchLabels or matchExpressions, or remove it.", code="config.selector"
        )
    return found


def workload(
    *,
    path: str,
    service_account: ServiceAccountRef | None = None,
    namespace: str | None = None,
    selector: AccountSelector | None = None,
    member: str | None = None,
    **rest: object,
) -> WorkloadDraft:
    """Return the workload; ConfigError unless it is named in exactly one way."""
    given = [one for one in (service_account, namespace, selector) if one is not None]
    if not given:
        raise ConfigError(
            "The key 'serviceAccount' is missing.",
            "",
            "Name the Kubernetes service account as NAMESPACE/NAME; or write namespace, or a selector.",
            code="config.missing-key",
        )
    if len(given) > 1:
        what = "This workload is named in more than one way."
        raise ConfigError(what, "", "Write exactly one of serviceAccount, namespace and selector.", code="config.workload")
    default = DEFAULT_NAMESPACE_MEMBER if namespace else "subject"
    return WorkloadDraft(path, service_account, namespace, selector, member=member or default, **rest)  # type: ignore[arg-type]  # each was read by its form
