# SPDX-License-Identifier: Apache-2.0
"""Mistakes that only show between fields. Each check keeps silent where one of its fields is broken already."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from podpass.config.drafts import SpecDraft, WorkloadDraft
from podpass.config.federation import DEFAULT_NAMESPACE_MEMBER, GENERATED, GoogleSettings, Grant, IssuerSettings
from podpass.config.mistakes import Report
from podpass.errors import ConfigError
from podpass.names import GoogleServiceAccount

# The one claim of a namespace, perhaps behind the cluster's name. The text ends in what no namespace holds, so that no other text before
# another namespace can come to the same.
_NAMESPACE_CLAIM = re.compile(
    r"""\s*(?:(['"])[A-Za-z0-9._:-]*[._:]\1\s*\+\s*)?
    assertion\s*\[\s*(['"])kubernetes\.io\2\s*\]\s*(?:\.\s*namespace|\[\s*(['"])namespace\3\s*\])\s*""",
    re.VERBOSE,
)
_WITH_A_SHELL = frozenset({"auto", "kubeadm", "kind", "k3s", "rke2"})
_COPIES_OF_THE_SUBJECT = frozenset({"assertion.sub", "assertion['sub']", 'assertion["sub"]'})


@dataclass(frozen=True, slots=True)
class _Seen:
    """What earlier workloads have taken: a thing, and the line that took it."""

    lines: dict[object, int]

    def take(self, thing: object, path: str, report: Report) -> int | None:
        """Return the line that took the thing first, or None for the first one."""
        if thing in self.lines:
            return self.lines[thing]
        self.lines[thing] = report.positions.get(path, (1, 1))[0]
        return None


def check_spec(spec: SpecDraft, report: Report) -> None:
    """Note every mistake that only shows between fields."""
    if report.is_sound("spec.issuer"):
        _check_issuer(spec.issuer, report)
    if report.is_sound("spec.cluster") and spec.cluster.talosconfig and spec.cluster.distribution not in {"auto", "talos"}:
        message = f"These settings are for Talos; the distribution is {spec.cluster.distribution!r}."
        report.at("spec.cluster.talos", message, "Remove them, or write distribution: talos.", code="config.cluster")
    if report.is_sound("spec.cluster") and spec.cluster.node_command and spec.cluster.distribution not in _WITH_A_SHELL:
        message = f"These settings are for machines with a shell; the distribution is {spec.cluster.distribution!r}."
        report.at("spec.cluster.nodes", message, "Remove them, or write whose machines these are.", code="config.cluster")
    if spec.google:
        _check_references(spec.google, spec.issuer, report)
    _check_workloads(spec, report)


def _check_references(google: GoogleSettings, issuer: IssuerSettings, report: Report) -> None:
    """Refuse to say of what somebody else keeps how it shall be."""
    if google.provider.existing and not google.pool.existing:
        message = "The provider is there already, so its pool is, too."
        report.at("spec.google.provider.existing", message, "Write existing: true at the pool, too.", code="config.existing")
    for name, settings in (("pool", google.pool), ("provider", google.provider)):
        if settings.existing and settings.display_name is not None:
            path = f"spec.google.{name}.displayName"
            report.at(path, f"Whoever keeps the {name} names it.", "Remove displayName, or existing.", code="config.existing")
    if google.provider.existing and google.attribute_condition is not GENERATED:
        path = "spec.google.attributeCondition"
        report.at(
            path, "Whoever keeps the provider writes its condition.", "Remove attributeCondition, or existing.", code="config.existing"
        )
    if google.provider.existing and issuer.keys == "bucket":
        report.at("spec.issuer.keys", "Whoever keeps the provider says where its keys are.", "Remove keys: bucket.", code="config.existing")


def _check_issuer(issuer: IssuerSettings, report: Report) -> None:
    if issuer.keys != "bucket":
        if issuer.bucket:
            message = "A bucket is named, but the keys do not come from it."
            report.at("spec.issuer.bucket", message, "Write keys: bucket, or remove the bucket.", code="config.issuer-bucket")
    elif not issuer.bucket:
        hint = "Add bucket: {name: NAME} to spec.issuer."
        report.at("spec.issuer.keys", "The keys shall come from a bucket, but none is named.", hint, code="config.issuer-bucket")
    elif issuer.url == "keep":
        message = "The keys shall come from a bucket; then the issuer is the bucket's URL."
        report.at("spec.issuer", message, f"Write url: {issuer.bucket.url}.", code="config.issuer-bucket")
    elif issuer.url.url != issuer.bucket.url:
        message = f"{issuer.url.url!r} is not the URL of the bucket {issuer.bucket.name!r}; Google would look for the keys elsewhere."
        hint = f"Write url: {issuer.bucket.url}, exactly so, or keys: inline."
        report.at("spec.issuer.url", message, hint, code="config.issuer-bucket")


def _check_workloads(spec: SpecDraft, report: Report) -> None:
    subjects, config_maps = _Seen({}), _Seen({})
    forms: dict[str, tuple[bool, int]] = {}
    for workload in spec.workloads:
        _check_unique(workload, subjects, config_maps, report)
        if spec.google:
            _check_member(workload, spec.google, report)
            _check_account(workload, spec.google, forms, report)
        if report.is_sound(f"{workload.path}.roles", f"{workload.path}.grants"):
            _check_grants(workload, spec.google, report)
    _check_shared_config_maps([workload for workload in spec.workloads if workload.credentials], report)


def _subject(workload: WorkloadDraft) -> tuple[str, str, object]:
    """Return the key that says who is meant, its words, and what must be there once."""
    if workload.selector:
        return "selector", "This selector", workload.selector
    if workload.namespace:
        return "namespace", f"The namespace {workload.namespace}", workload.namespace
    return "serviceAccount", str(workload.service_account), workload.service_account


def _check_unique(workload: WorkloadDraft, subjects: _Seen, config_maps: _Seen, report: Report) -> None:
    key, words, subject = _subject(workload)
    path = f"{workload.path}.{key}"
    if first := subjects.take(subject, path, report):
        message = f"{words} is declared twice, first in line {first}."
        report.at(path, message, "Make one workload of the two; it may have many roles and grants.", code="config.duplicate-workload")
    elif workload.credentials and workload.service_account:
        path = f"{workload.path}.credentials.configMap"
        name = workload.credentials.config_map
        namespace = workload.service_account.namespace
        if first := config_maps.take((namespace, name), path, report):
            message = f"The config map {namespace}/{name} is another workload's already, in line {first}."
            report.at(path, message, "Give each workload a config map of its own.", code="config.duplicate-config-map")


def _check_shared_config_maps(workloads: list[WorkloadDraft], report: Report) -> None:
    """Refuse one config map for two contents. Whom a selector finds is not known yet, so each namespace where it looks counts."""
    for index, workload in enumerate(workloads):
        for other in workloads[:index]:
            is_shared = workload.service_account is None or other.service_account is None
            if is_shared and _may_meet(workload, other) and _content(workload) != _content(other):
                path = f"{workload.path}.credentials.configMap"
                line = report.positions.get(f"{other.path}.credentials.configMap", (1, 1))[0]
                name = workload.credentials.config_map if workload.credentials else ""
                message = f"In a namespace of both, the config map {name} would be that of line {line} as well, with another content."
                hint = "Give the two config maps different names, or let key, tokenPath and googleServiceAccount be the same."
                report.at(path, message, hint, code="config.duplicate-config-map")


def _may_meet(one: WorkloadDraft, other: WorkloadDraft) -> bool:
    """Whether the config maps of two workloads may be one."""
    if one.credentials is None or other.credentials is None or one.credentials.config_map != other.credentials.config_map:
        return False
    where, there = _namespaces(one), _namespaces(other)
    return where is None or there is None or not where.isdisjoint(there)


def _namespaces(workload: WorkloadDraft) -> frozenset[str] | None:
    """Return the namespaces in which a workload's accounts lie; None: it may be any."""
    if workload.selector:
        return frozenset(workload.selector.namespaces) or None
    return frozenset({workload.namespace or (workload.service_account.namespace if workload.service_account else "")})


def _content(workload: WorkloadDraft) -> tuple[object, ...]:
    return workload.credentials, workload.google_service_account


def _check_member(workload: WorkloadDraft, google: GoogleSettings, report: Report) -> None:
    path = f"{workload.path}.member"
    if not report.is_sound("spec.google.attributeMapping") or (workload.member == "subject" and not workload.namespace):
        return
    wanted = "assertion['kubernetes.io']['namespace']" if workload.namespace else "assertion.sub"
    expression = google.attribute_mapping.get(workload.member)
    if workload.member == "subject":
        message = f"The namespace {workload.namespace} is a set of accounts, and subject stands for one."
        report.at(path, message, f"Write member: {DEFAULT_NAMESPACE_MEMBER}, or leave it out.", code="config.member")
    elif expression is None:
        hint = f"Add {workload.member}: {wanted} to spec.google.attributeMapping"
        hint += "." if workload.namespace else ", or write member: subject."
        report.at(path, f"The mapping has no {workload.member}.", hint, code="config.member")
    elif workload.namespace and not is_namespace_claim(expression):
        message = f"{workload.member} is {expression!r}, which need not be the namespace that the cluster's issuer wrote into the token."
        hint = f"Map it from the claim itself: {wanted}; before it may stand a text and +, if the text ends in '.', ':' or '_'."
        report.at(path, message, hint, code="config.member")
    elif not workload.namespace and "".join(expression.split()) not in _COPIES_OF_THE_SUBJECT:
        message = f"{workload.member} is {expression!r}, so other workloads may have the same value and would be admitted with this one."
        report.at(path, message, "Bind an attribute that is assertion.sub, or write member: subject.", code="config.member")


def is_namespace_claim(expression: str) -> bool:
    """Whether an expression of the mapping is a token's namespace as the API server wrote it, and nothing that a pod's maker may choose."""
    return _NAMESPACE_CLAIM.fullmatch(expression) is not None


def google_account(workload: WorkloadDraft, google: GoogleSettings) -> GoogleServiceAccount | None:
    """Return the account that a workload names, in full.

    Raises:
        ConfigError: Neither an id nor an email.
    """
    text = workload.google_service_account
    return None if text is None else GoogleServiceAccount.parse(text, project=google.project)


def _check_account(workload: WorkloadDraft, google: GoogleSettings, forms: dict[str, tuple[bool, int]], report: Report) -> None:
    path = f"{workload.path}.googleServiceAccount"
    try:
        account = google_account(workload, google)
    except ConfigError as error:
        report.at(path, f"{error.what} {error.why}", error.next_step, code=error.full_code)
        return
    if account is None:
        return
    is_email = "@" in (workload.google_service_account or "")
    first_is_email, line = forms.setdefault(account.email, (is_email, report.positions.get(path, (1, 1))[0]))
    if first_is_email != is_email:
        message = f"{account.email} is named by its id in one place and by its email in another (line {line})."
        hint = "By its id podpass makes it, by its email it exists already: write the same form in both."
        report.at(path, message, hint, code="config.google-service-account")


def _check_grants(workload: WorkloadDraft, google: GoogleSettings | None, report: Report) -> None:
    seen = _Seen({})
    project = google.project if google else ""
    for path, grant in _all_grants(workload, project):
        resource = f"bucket {grant.bucket}" if grant.bucket else f"project {grant.project}"
        if first := seen.take(grant, path, report):
            message = f"{grant.role} on {resource} is granted twice, first in line {first}."
            report.at(path, message, "Keep one of the two.", code="config.duplicate-grant")


def _all_grants(workload: WorkloadDraft, project: str) -> Iterator[tuple[str, Grant]]:
    for index, role in enumerate(workload.roles):
        yield f"{workload.path}.roles[{index}]", Grant(role, project=project)
    for index, grant in enumerate(workload.grants):
        yield f"{workload.path}.grants[{index}]", grant
