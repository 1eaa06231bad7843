# SPDX-License-Identifier: Apache-2.0
"""Who is asking: one of the three users with a static token, a service account with a token of its own, or nobody."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from podpass.errors import MalformedTokenError, TokenError, WrongIssuerError
from podpass.names import Secret
from podpass.sandbox.kubernetes.kind import Kind, moment
from podpass.sandbox.kubernetes.kinds import NODE, POD, SECRET, SERVICE_ACCOUNT
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.token_issuer import TokenIssuer

AUTHENTICATED: Final = "system:authenticated"
_STALE: Final = timedelta(minutes=1)  # an object deleted longer ago than go-jose's leeway no longer carries a token


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as TokenReview and SelfSubjectReview show it."""

    name: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: Mapping[str, list[str]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the UserInfo."""
        shown = {"username": self.name, "uid": self.uid, "groups": list(self.groups), "extra": dict(self.extra)}
        return {name: value for name, value in shown.items() if value}


ANONYMOUS: Final = User("system:anonymous", ("system:unauthenticated",))


class UnauthenticatedError(Exception):
    """A bearer token that is nobody's; the text says why, for TokenReview."""


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Judges bearer tokens.

    Args:
        objects: The cluster, where a service account's token must still have its account, and the object it is bound to.
        users: The static tokens.
        issuer: Issuers and keys of the moment.
    """

    objects: Objects
    users: tuple[tuple[User, Secret[str]], ...]
    issuer: TokenIssuer

    def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> tuple[User, tuple[str, ...]]:
        """Return whose token it is, and for which of the audiences it is good.

        Args:
            token: The bearer token.
            audiences: What the asking service is called; empty: the API server itself.

        Raises:
            UnauthenticatedError: Nobody's.
        """
        own = self.issuer.issuers
        audiences = audiences or own
        for user, secret in self.users:
            if hmac.compare_digest(secret.reveal().encode(), token.encode()):
                if not set(own) & set(audiences):
                    raise UnauthenticatedError("invalid bearer token")
                return user, tuple(audience for audience in audiences if audience in own)
        try:
            verified = self.issuer.verify(token, audiences, self.objects.clock.now())
        except (MalformedTokenError, WrongIssuerError) as error:
            raise UnauthenticatedError("invalid bearer token") from error  # not one of ours at all
        except TokenError as error:
            raise UnauthenticatedError(f"[invalid bearer token, {error.what}]") from error
        claims = verified.claims
        return self._account(claims, claims.get("kubernetes.io")), tuple(each for each in audiences if each in verified.audiences)

    def _account(self, claims: dict[str, Any], private: Any) -> User:  # noqa: ANN401 - an unread claim
        if not isinstance(private, dict):
            raise UnauthenticatedError("[invalid bearer token, the token has no kubernetes.io claim]")
        namespace, account = private["namespace"], private["serviceaccount"]
        self._still_there(SERVICE_ACCOUNT, namespace, account)
        bound = {name: private[name] for name in ("pod", "node", "secret") if name in private}
        for kind, name in ((POD, "pod"), (SECRET, "secret")):
            if name in bound:
                self._still_there(kind, namespace, bound[name])
        if "node" in bound and "pod" not in bound:
            self._still_there(NODE, "", bound["node"])
        extra = {"authentication.kubernetes.io/credential-id": [f"JTI={claims['jti']}"]} if "jti" in claims else {}
        for name in ("node", "pod"):
            for member in ("name", "uid"):
                if value := bound.get(name, {}).get(member):
                    extra[f"authentication.kubernetes.io/{name}-{member}"] = [value]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(f"system:serviceaccount:{namespace}:{account['name']}", groups, account["uid"], extra)

    def _still_there(self, kind: Kind, namespace: str, claim: dict[str, str]) -> None:
        """Refuse a token that has outlived what it speaks for, or is bound to."""
        obj = self.objects.find(kind, namespace, claim["name"])
        if obj is None:
            raise UnauthenticatedError("[invalid bearer token, service account token has been invalidated]")
        uid, marked = obj["metadata"]["uid"], obj["metadata"].get("deletionTimestamp")
        if uid != claim["uid"]:
            raise UnauthenticatedError(f"[invalid bearer token, {kind.name} UID ({uid}) does not match claim ({claim['uid']})]")
        if marked and self.objects.clock.now() - moment(marked) > _STALE:
            raise UnauthenticatedError("[invalid bearer token, service account token has been invalidated]")
