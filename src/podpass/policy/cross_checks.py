# SPDX-License-Identifier: Apache-2.0
"""Mistakes that only show between fields. Each check keeps silent where one of its fields is broken already."""

from collections.abc import Iterable, Iterator

from podpass.config.mistakes import Report
from podpass.config.spelling import nearest
from podpass.policy.fields import IssuerDraft, RuleDraft, SpecDraft
from podpass.policy.invoker_policy import GOOGLE
from podpass.policy.members import (
    ANY,
    AllAuthenticatedUsers,
    AllUsers,
    DomainMember,
    GroupMember,
    KubernetesMember,
    Member,
    ServiceAccountMember,
    SubjectMember,
    UserMember,
)
from podpass.policy.rules import Rule, conflict, places_of
from podpass.verify.audience import api_server_of

Members = Iterable[Member | GroupMember]


def check_spec(spec: SpecDraft, report: Report) -> None:
    """Note every mistake between fields."""
    for name, issuer in spec.issuers.items():
        _check_issuer(f"spec.issuers.{name}", issuer, report)
    if report.is_sound("spec.issuers"):
        _check_same_url(spec, report)
        _check_audiences(spec, report)
        for path, member in _all_members(spec):
            _check_member(path, member, spec, report)
    for name in spec.groups:
        _check_group(f"spec.groups.{name}", spec.groups[name], report)
    _check_names(spec.rules, report)
    _check_conflicts(spec.rules, report)
    for rule in spec.rules:
        if rule.token_review and report.is_sound(f"{rule.path}.members", "spec.groups", "spec.issuers"):
            _check_review(rule, spec, report)


def _check_issuer(path: str, issuer: IssuerDraft, report: Report) -> None:
    if issuer.kind == "google":
        if issuer.url is not None and issuer.url != GOOGLE:
            hint = "Remove the url, or write kind: oidc."
            report.at(f"{path}.url", f"An issuer of kind google is {GOOGLE}.", hint, code="config.issuer")
    elif issuer.url is None and issuer.kind is not None and report.is_sound(path):
        report.at(path, "The key 'url' is missing.", "Write the issuer as the tokens carry it in `iss`.", code="config.missing-key")
    if issuer.kind in {"google", "oidc"} and report.is_sound(f"{path}.keys"):
        if issuer.keys == "apiserver":
            message = f"An API server has no keys of an issuer of kind {issuer.kind}."
            report.at(f"{path}.keys", message, "Write keys: discovery, or kind: kubernetes.", code="config.keys")
        if issuer.api_audiences:
            message = f"An issuer of kind {issuer.kind} has no API server."
            report.at(f"{path}.apiAudiences", message, "Remove them, or write kind: kubernetes.", code="config.keys")


def _check_same_url(spec: SpecDraft, report: Report) -> None:
    """Two issuers with one URL are told apart by their keys, so the same keys twice can tell nothing apart."""
    seen: dict[tuple[object, object], str] = {}
    for name, issuer in spec.issuers.items():
        source = (issuer.url or GOOGLE, issuer.keys)
        if first := seen.get(source):
            message = f"{name!r} has the URL and the keys of {first!r}; nothing would tell their tokens apart."
            report.at(f"spec.issuers.{name}", message, "Give one of them its own keys, or remove it.", code="config.same-issuer")
        seen.setdefault(source, name)


def _check_audiences(spec: SpecDraft, report: Report) -> None:
    for index, audience in enumerate(spec.audiences):
        for name, issuer in spec.issuers.items():
            url, own = (issuer.url or GOOGLE).url, (api.value for api in issuer.api_audiences)
            if why := api_server_of(audience.value, issuer=url, api_audiences=frozenset(own)):
                message = f"{audience.value!r} is {why} (issuer {name!r}); a service that accepts it accepts tokens meant for that."
                hint = "Give the service an audience of its own, such as its URL."
                report.at(f"spec.audiences[{index}]", message, hint, code="config.audience")
                break


def _all_members(spec: SpecDraft) -> Iterator[tuple[str, Member | GroupMember]]:
    for name, members in spec.groups.items():
        yield from _with_paths(f"spec.groups.{name}", members)
    for rule in spec.rules:
        yield from _with_paths(f"{rule.path}.members", rule.members)


def _with_paths(path: str, members: Members) -> Iterator[tuple[str, Member | GroupMember]]:
    yield from ((f"{path}[{index}]", member) for index, member in enumerate(members))


def _check_member(path: str, member: Member | GroupMember, spec: SpecDraft, report: Report) -> None:
    match member:
        case GroupMember() if member.is_google:
            _check_google_group(path, member, spec, report)
        case GroupMember(group) if group not in spec.groups:
            _unknown(path, "group", group, list(spec.groups), report)
        case KubernetesMember(issuer) | SubjectMember(issuer) if issuer not in spec.issuers and (
            issuer != ANY or isinstance(member, SubjectMember)
        ):
            _unknown(path, "issuer", issuer, list(spec.issuers), report)
        case KubernetesMember(issuer) if issuer != ANY and spec.issuers[issuer].kind != "kubernetes":
            message = f"{issuer!r} is of kind {spec.issuers[issuer].kind}; it has no Kubernetes service accounts."
            report.at(path, message, f"Write subject:{issuer}/SUB.", code="config.member")
        case ServiceAccountMember() | UserMember() | DomainMember():
            _check_google(path, member, spec, report)
        case _:
            pass


def _check_google(path: str, member: Member | GroupMember, spec: SpecDraft, report: Report) -> None:
    if not any(issuer.kind == "google" for issuer in spec.issuers.values()):
        message = f"{member} needs Google's tokens, and no issuer is of kind google."
        report.at(path, message, "Add google: {kind: google} to spec.issuers.", code="config.member")


def _check_google_group(path: str, member: GroupMember, spec: SpecDraft, report: Report) -> None:
    _check_google(path, member, spec, report)
    if spec.group_resolver is None:
        message = f"Nobody can tell who is in the Google group {member.group}."
        report.at(path, message, "Add groupResolver: {kind: cloudIdentity} to spec.", code="config.member")


def _unknown(path: str, what: str, name: str, known: list[str], report: Report) -> None:
    meant = nearest(name, known)
    hint = f"Did you mean {meant!r}?" if meant else f"Known here: {', '.join(known)}." if known else f"Declare it in spec.{what}s."
    report.at(path, f"There is no {what} {name!r}.", hint, code=f"config.unknown-{what}")


def _check_group(path: str, members: Members, report: Report) -> None:
    for at, member in _with_paths(path, members):
        if isinstance(member, AllUsers | AllAuthenticatedUsers) or (isinstance(member, GroupMember) and not member.is_google):
            hint = "Name its members here." if isinstance(member, GroupMember) else "Write it into the rule, where everybody sees it."
            report.at(at, f"A group does not hold {member}.", hint, code="config.member")


def _check_names(rules: Iterable[RuleDraft], report: Report) -> None:
    seen: set[str] = set()
    for rule in rules:
        if rule.name in seen:
            report.at(f"{rule.path}.name", f"Another rule is called {rule.name!r}.", "Choose another name.", code="config.name")
        seen |= {rule.name} if rule.name else set()


def _check_conflicts(rules: Iterable[RuleDraft], report: Report) -> None:
    seen: dict[object, str] = {}
    for rule in rules:
        if not report.is_sound(f"{rule.path}.methods"):
            continue
        methods = frozenset(rule.methods) if rule.methods is not None else None
        for pattern, method in places_of(Rule("", rule.paths, (), methods)):
            first = seen.setdefault((pattern, method), rule.path)
            if first != rule.path:
                hint = "Make one rule of the two, or give them different paths or methods."
                report.at(f"{rule.path}.paths", conflict(pattern, method, first), hint, code="config.rule-conflict")


def _check_review(rule: RuleDraft, spec: SpecDraft, report: Report) -> None:
    for path, member in _with_paths(f"{rule.path}.members", rule.members):
        members = spec.groups.get(member.group, (member,)) if isinstance(member, GroupMember) else (member,)
        if not all(_is_reviewable(each, spec) for each in members):
            message = f"The API server knows nothing about {member}, so this rule's tokenReview could not be kept."
            report.at(path, message, "Move it to a rule without tokenReview.", code="config.token-review")


def _is_reviewable(member: Member | GroupMember, spec: SpecDraft) -> bool:
    if isinstance(member, SubjectMember):
        return member.issuer not in spec.issuers or spec.issuers[member.issuer].kind == "kubernetes"
    # What stands for an unknown group is told elsewhere.
    return isinstance(member, KubernetesMember) or (isinstance(member, GroupMember) and not member.is_google)
