# SPDX-License-Identifier: Apache-2.0
"""Who may be admitted: the forms of a member, each a small frozen value that knows its own.

`None` in place of an identity is a caller without a token.
"""

import re
from typing import Final

import msgspec

from podpass.errors import ConfigError
from podpass.names import GoogleServiceAccount, ServiceAccountRef
from podpass.verify.identity import Identity

ANY: Final = "*"
# DNS: labels of 1 to 63, at least two of them.
_DOMAIN = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# RFC 5322, 3.2.3, in lower case, since Google knows no other case of an address [K]; without `*`, which nobody should take for a wildcard.
_EMAIL = rf"[a-z0-9!#$%&'+/=?^_`{{|}}~.-]{{1,64}}@{_DOMAIN}"
FORMS: Final = (
    "kubernetes:ISSUER/NAMESPACE/NAME",
    "serviceAccount:EMAIL",
    "user:EMAIL",
    "domain:NAME",
    "subject:ISSUER/SUB",
    "group:NAME",
    "group:EMAIL",
    "allAuthenticatedUsers",
    "allUsers",
)


class AllUsers(msgspec.Struct, frozen=True):
    """Everybody, with a token or without."""

    def admits(self, identity: Identity | None) -> bool:  # noqa: ARG002 - every member has this question
        """Admit anybody."""
        return True

    def __str__(self) -> str:
        return "allUsers"


class AllAuthenticatedUsers(msgspec.Struct, frozen=True):
    """Everybody whose token one of the policy's issuers has signed for one of its audiences."""

    def admits(self, identity: Identity | None) -> bool:
        """Admit whoever is known."""
        return identity is not None

    def __str__(self) -> str:
        return "allAuthenticatedUsers"


class KubernetesMember(msgspec.Struct, frozen=True):
    """A service account of a cluster; `*` stands for every issuer of kind kubernetes, every namespace, every name."""

    issuer: str
    namespace: str
    name: str

    def admits(self, identity: Identity | None) -> bool:
        """Admit the service account, of that cluster and no other."""
        if identity is None or identity.kubernetes is None:
            return False
        account = identity.kubernetes.service_account
        return (
            (self.namespace == account.namespace or self.namespace == ANY)  # noqa: PLR1714 - each request comes through here
            and (self.name == account.name or self.name == ANY)  # noqa: PLR1714
            and (self.issuer == identity.issuer_name or self.issuer == ANY)  # noqa: PLR1714
        )

    def __str__(self) -> str:
        return f"kubernetes:{self.issuer}/{self.namespace}/{self.name}"


class ServiceAccountMember(msgspec.Struct, frozen=True):
    """A Google service account, by an email that Google has verified."""

    account: GoogleServiceAccount

    def admits(self, identity: Identity | None) -> bool:
        """Admit the account if `email_verified` is true."""
        if identity is None or identity.google is None:
            return False
        return identity.google.email_verified and identity.google.email == self.account.email

    def __str__(self) -> str:
        return f"serviceAccount:{self.account}"


class UserMember(msgspec.Struct, frozen=True):
    """A person's Google account, by an email that Google has verified."""

    email: str

    def admits(self, identity: Identity | None) -> bool:
        """Admit the account if `email_verified` is true; to Google, capitals in an address are none."""
        if identity is None or identity.google is None or identity.google.email is None:
            return False
        return identity.google.email_verified and identity.google.email.lower() == self.email

    def __str__(self) -> str:
        return f"user:{self.email}"


class DomainMember(msgspec.Struct, frozen=True):
    """Everybody of a Google Workspace domain, by the claim `hd`: the ending of an email proves nothing."""

    domain: str

    def admits(self, identity: Identity | None) -> bool:
        """Admit the accounts that Google says belong to the domain."""
        return identity is not None and identity.google is not None and identity.google.hosted_domain == self.domain

    def __str__(self) -> str:
        return f"domain:{self.domain}"


class SubjectMember(msgspec.Struct, frozen=True):
    """One `sub` of one issuer, of any kind."""

    issuer: str
    subject: str

    def admits(self, identity: Identity | None) -> bool:
        """Admit the subject, of that issuer and no other."""
        return identity is not None and identity.issuer_name == self.issuer and identity.subject == self.subject

    def __str__(self) -> str:
        return f"subject:{self.issuer}/{self.subject}"


class GroupMember(msgspec.Struct, frozen=True):
    """The members of a group of the policy, or of a Google group; stands in files only, rules hold members and Google groups apart."""

    group: str

    @property
    def is_google(self) -> bool:
        """Whether it is a Google group, by its email."""
        return "@" in self.group

    def __str__(self) -> str:
        return f"group:{self.group}"


Member = AllUsers | AllAuthenticatedUsers | KubernetesMember | ServiceAccountMember | UserMember | DomainMember | SubjectMember


def parse_member(text: str) -> Member | GroupMember:
    """Read one member.

    Raises:
        ConfigError: None of the forms, or a part of one that its owner would refuse.
    """
    if text in {"allUsers", "allAuthenticatedUsers"}:
        return AllUsers() if text == "allUsers" else AllAuthenticatedUsers()
    kind, colon, value = text.partition(":")
    if not colon or not value:
        raise _refused(text, "")
    match kind:
        case "kubernetes":
            return _kubernetes(text, value)
        case "serviceAccount":
            return ServiceAccountMember(GoogleServiceAccount.parse(value))
        case "user":
            return _user(text, value)
        case "domain":
            return _domain(text, value)
        case "subject":
            return _subject(text, value)
        case "group":
            return _group(text, value)
        case _:
            raise _refused(text, "")


def _kubernetes(text: str, value: str) -> KubernetesMember:
    parts = value.split("/")
    if len(parts) != 3 or not parts[0]:  # noqa: PLR2004 - issuer, namespace, name
        raise _refused(text, "It is kubernetes:ISSUER/NAMESPACE/NAME, and `*` stands for a whole part.")
    issuer, namespace, name = parts
    ServiceAccountRef("any" if namespace == ANY else namespace, "any" if name == ANY else name)
    return KubernetesMember(issuer, namespace, name)


def _user(text: str, value: str) -> UserMember:
    if value.endswith(".gserviceaccount.com"):
        raise _refused(text, "That is a service account's email: serviceAccount:EMAIL.")
    if not re.fullmatch(_EMAIL, value):
        raise _refused(text, "An email is written in lower case: user:ann@example.com.")
    return UserMember(value)


def _domain(text: str, value: str) -> DomainMember:
    if not re.fullmatch(_DOMAIN, value):
        raise _refused(text, "A domain is written in lower case, with a dot: domain:example.com.")
    return DomainMember(value)


def _subject(text: str, value: str) -> SubjectMember:
    issuer, slash, subject = value.partition("/")
    if not slash or not issuer or not subject:
        raise _refused(text, "It is subject:ISSUER/SUB.")
    if ANY in subject:
        raise _refused(text, "A subject is compared as a whole: '*' stands for nothing in it.")
    return SubjectMember(issuer, subject)


def _group(text: str, value: str) -> GroupMember:
    if "@" in value and not re.fullmatch(_EMAIL, value):
        raise _refused(text, "A Google group's email is written in lower case: group:team@example.com.")
    return GroupMember(value)


def _refused(text: str, why: str) -> ConfigError:
    return ConfigError(f"{text[:200]!r} is not a member.", why, f"Write one of: {', '.join(FORMS)}.", code="config.member")
