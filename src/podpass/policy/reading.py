# SPDX-License-Identifier: Apache-2.0
"""From a file's bytes to an `InvokerPolicy`, or to every mistake in it. The bytes are read by others: nothing here touches a disk."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from podpass.config.document import new_report, read_file
from podpass.config.mistakes import FileMistakesError
from podpass.policy.cross_checks import check_spec
from podpass.policy.fields import DOCUMENT, KIND, IssuerDraft, RuleDraft, SpecDraft
from podpass.policy.invoker_policy import GOOGLE, HandlerToken, InvokerPolicy, Mode, TrustedIssuer
from podpass.policy.members import GroupMember, Member
from podpass.policy.rules import Rule
from podpass.verify.algorithms import rows


class PolicyFileError(FileMistakesError):
    """A policy file is wrong; a policy with a mistake admits nobody."""

    code = "config.policy-file"
    next_step_for_all = "Correct what is listed; until then this file admits nobody."


def parse(raw: bytes, path: Path) -> InvokerPolicy:
    """Read a policy file's bytes; `path` is what messages call it, and what paths inside it are relative to.

    Raises:
        PolicyFileError: Anything in it is wrong; holds every mistake.
    """
    report = new_report(DOCUMENT)
    empty = "Write an InvokerPolicy; without one every request is denied."
    read = read_file(raw, DOCUMENT, KIND, report, check=check_spec, empty=empty)
    if read is None:
        raise PolicyFileError(path, report.mistakes)
    return _policy(*read, path.absolute().parent)


def _policy(name: str, spec: SpecDraft, folder: Path) -> InvokerPolicy:
    return InvokerPolicy(
        name=name,
        audiences=spec.audiences,
        issuers=tuple(_issuer(each, draft, folder) for each, draft in spec.issuers.items()),
        rules=tuple(_rule(draft, spec) for draft in spec.rules),
        mode=Mode(spec.mode),
        leeway=timedelta(seconds=spec.leeway),
        several_audiences=spec.several_audiences,
        serverless_authorization=spec.serverless_authorization,
        group_resolver=spec.group_resolver,
        handler_token=HandlerToken(spec.handler_token),
    )


def _issuer(name: str, draft: IssuerDraft, folder: Path) -> TrustedIssuer:
    assert draft.kind is not None
    return TrustedIssuer(
        name=name,
        kind=draft.kind,
        issuer=draft.url or GOOGLE,
        keys=folder / draft.keys.expanduser() if isinstance(draft.keys, Path) else draft.keys,
        api_audiences=frozenset(audience.value for audience in draft.api_audiences),
        # In one order and once each: what is the same to a verifier shares its keys.
        algorithms=tuple(rows(draft.algorithms)),
    )


def _rule(draft: RuleDraft, spec: SpecDraft) -> Rule:
    return Rule(
        name=draft.name or draft.path.removeprefix("spec."),
        paths=draft.paths,
        members=tuple(dict.fromkeys(_resolved(draft, spec))),
        methods=None if draft.methods is None else frozenset(draft.methods),
        condition=draft.condition,
        token_review=draft.token_review,
        google_groups=tuple(dict.fromkeys(_google_groups(draft, spec))),
    )


def _resolved(draft: RuleDraft, spec: SpecDraft) -> Iterator[Member]:
    for member in _all(draft, spec):
        if not isinstance(member, GroupMember):
            yield member


def _google_groups(draft: RuleDraft, spec: SpecDraft) -> Iterator[str]:
    for member in _all(draft, spec):
        if isinstance(member, GroupMember):
            yield member.group


def _all(draft: RuleDraft, spec: SpecDraft) -> Iterator[Member | GroupMember]:
    """Yield a rule's members, and those of the policy's groups in their place; what is left of groups are Google's."""
    for member in draft.members:
        if isinstance(member, GroupMember) and not member.is_google:
            yield from spec.groups[member.group]
        else:
            yield member
