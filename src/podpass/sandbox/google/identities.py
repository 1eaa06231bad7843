# SPDX-License-Identifier: Apache-2.0
"""Who a caller is, by its access token: the operator, a service account, or a workload of a pool."""

import hashlib

from podpass.clock import Clock
from podpass.names import PoolName
from podpass.sandbox.google.caller import ANONYMOUS, CLOUD_PLATFORM, Caller
from podpass.sandbox.google.groups import Groups
from podpass.sandbox.google.message import Fault, Request
from podpass.sandbox.google.tokens import Tokens
from podpass.sandbox.store import Json, Store
from podpass.wif import Judgement

_EXPECTED = (
    "Expected OAuth 2 access token, login cookie or other valid authentication credential. "
    "See https://developers.google.com/identity/sign-in/web/devconsole-project."
)


_EVERYBODY = frozenset({"allUsers", "allAuthenticatedUsers"})


def _unauthenticated(what: str, reason: str) -> Fault:
    challenge = {"www-authenticate": 'Bearer realm="https://accounts.google.com/"'}
    return Fault(401, "UNAUTHENTICATED", f"{what} {_EXPECTED}", reason=reason, headers=challenge)


class Identities:
    """Issue access tokens and know their bearers again."""

    def __init__(self, store: Store, clock: Clock, tokens: Tokens, groups: Groups) -> None:
        self._store = store
        self._groups = groups
        self._clock = clock
        self._tokens = tokens

    def user_token(self, email: str, scopes: list[str], lifetime_s: int = 3600) -> str:
        """Issue a token of a user."""
        return self._issue({"user": email}, scopes, lifetime_s)

    def account_token(self, account: Json, scopes: list[str], lifetime_s: int) -> str:
        """Issue a token of a service account."""
        return self._issue({"account": account["email"], "uid": account["uniqueId"]}, scopes, lifetime_s)

    def federated_token(self, pool: PoolName, judgement: Judgement, scopes: list[str], lifetime_s: int) -> str:
        """Issue a token of a pool's subject, as judged."""
        attributes = {name: value for name, value in judgement.attributes.items() if name.startswith("attribute.")}
        who: Json = {"pool": str(pool), "subject": judgement.subject, "attributes": attributes, "groups": list(judgement.groups)}
        return self._issue(who, scopes, lifetime_s)

    def authenticate(self, request: Request, *, anonymous: bool = False) -> Caller:
        """Say who sent a request.

        Args:
            request: The request.
            anonymous: Whether a request without credentials is let through as nobody's.

        Raises:
            Fault: 401: no token, or one that is not good (any more).
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not scheme:
            if anonymous:
                return ANONYMOUS
            raise _unauthenticated("Request is missing required authentication credential.", "CREDENTIALS_MISSING")
        caller = self.bearer(token.strip()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise _unauthenticated("Request had invalid authentication credentials.", "ACCESS_TOKEN_EXPIRED")
        return caller

    def bearer(self, token: str) -> Caller | None:
        """Say who bears a token; None when it is foreign, has ended, or its account or pool is gone or disabled."""
        facts = self.facts(token)
        if facts is None:
            return None
        scopes, expires = frozenset(facts["scopes"]), facts["exp"]
        if "user" in facts:
            return self._user(facts["user"], scopes, expires)
        if "account" in facts:
            return self._account(facts["account"], scopes, expires)
        members = _members(facts)
        return Caller(members[0], frozenset(members) | {"allUsers"}, scopes, None, expires)

    def account(self, email: str) -> Caller | None:
        """Return a service account that shows no token, such as the signer of a URL; None where it cannot act."""
        account = self._store.get("serviceAccount", email)
        return self._account(email, frozenset({CLOUD_PLATFORM}), 0) if account and not account.value.get("disabled") else None

    def subject(self, subject: str, claims: Json) -> Caller | None:
        """Say whom an ID token of Google's speaks for: an account by its unique id, which no other one ever has, or a user."""
        account = next((each for each in self._store.select("serviceAccount") if each.value["uniqueId"] == subject), None)
        if account:
            return None if account.value.get("disabled") else self._account(account.key, frozenset(), claims["exp"])
        email = str(claims.get("email", ""))
        return self._user(email, frozenset(), claims["exp"]) if email and user_id(email) == subject else None

    def _user(self, email: str, scopes: frozenset[str], expires: int) -> Caller:
        members = {f"user:{email}", f"domain:{email.rpartition('@')[2]}", *self._groups.memberships(email)}
        return Caller(email, _EVERYBODY | members, scopes, email, expires)

    def _account(self, email: str, scopes: frozenset[str], expires: int) -> Caller:
        # A service account belongs to no domain [R].
        return Caller(email, _EVERYBODY | {f"serviceAccount:{email}", *self._groups.memberships(email)}, scopes, email, expires)

    def facts(self, token: str) -> Json | None:
        """Open a token that still holds; None for any other."""
        facts = self._tokens.open(token)
        if facts is None or facts["exp"] <= self._clock.now().timestamp():
            return None
        if "account" in facts:
            account = self._store.get("serviceAccount", facts["account"])
            good = account and account.value["uniqueId"] == facts["uid"] and not account.value.get("disabled")
            return facts if good else None
        if "pool" in facts:
            # google-behaviour: pools: a deleted or disabled pool stops existing federated tokens; its provider does not.
            pool = self._store.get("pool", facts["pool"])
            return facts if pool and pool.value["state"] == "ACTIVE" and not pool.value.get("disabled") else None
        return facts

    def _issue(self, who: Json, scopes: list[str], lifetime_s: int) -> str:
        now = int(self._clock.now().timestamp())
        return self._tokens.seal({**who, "scopes": scopes or [CLOUD_PLATFORM], "iat": now, "exp": now + lifetime_s})


def user_id(email: str) -> str:
    """Return the number that stands for a user in `sub`: 21 digits, the same one each time."""
    return "1" + str(int.from_bytes(hashlib.sha256(email.encode()).digest(), "big"))[:20]


def _members(facts: Json) -> list[str]:
    base = f"//iam.googleapis.com/{facts['pool']}"
    # `allAuthenticatedUsers` leaves workloads of a pool out [R].
    sets = [f"principalSet:{base}/{name}/{value}" for name, value in facts["attributes"].items()]
    groups = [f"principalSet:{base}/group/{group}" for group in facts["groups"]]
    return [f"principal:{base}/subject/{facts['subject']}", f"principalSet:{base}/*", *sets, *groups]
