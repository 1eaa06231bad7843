# SPDX-License-Identifier: Apache-2.0
"""Who may invoke a service: Cloud Run's four checks of a request's token, and what of it the container gets to see.

In this order: (1) a service that admits allUsers, or whose check is off, asks nobody; (2) the token is signed by Google, unexpired, and
meant for this service; (3) its subject may invoke the service. podpass's own verifier judges the token, this universe's IAM the membership.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from podpass.errors import TokenError
from podpass.names import Audience, Issuer
from podpass.sandbox.google.caller import ANONYMOUS, Caller
from podpass.sandbox.google.oauth import GCLOUD_CLIENT
from podpass.sandbox.google.run.services import UNCHECKED, Place, custom_audiences, urls_of
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.store import Record
from podpass.verify import KeySet, VerifiedToken, Verifier

Headers = Sequence[tuple[bytes, bytes]]
_GOOGLE: Final = Issuer("https://accounts.google.com")
_SERVERLESS, _AUTHORIZATION = b"x-serverless-authorization", b"authorization"
INVOKE: Final = "run.routes.invoke"
_REMOVED: Final = b"SIGNATURE_REMOVED_BY_GOOGLE"  # [M]


class Refusal(Exception):  # noqa: N818 - an answer, as `Fault` is
    """A request that does not reach the service.

    Attributes:
        status: 401 for a token that does not hold here, 403 for none, or for somebody who may not.
        why: For the log of the sandbox; the caller learns nothing of it.
        caller: Who asked, as far as known.
    """

    def __init__(self, status: int, why: str, caller: str = "anonymous") -> None:
        super().__init__(why)
        self.status, self.why, self.caller = status, why, caller


@dataclass(frozen=True, slots=True)
class Admission:
    """A request that is let through.

    Attributes:
        caller: Who asks.
        headers: The request's headers as the container may see them.
    """

    caller: Caller
    headers: Headers


def admit(universe: Universe, service: Record, headers: Headers) -> Admission:
    """Let a request through, or refuse it; names of headers are in lower case.

    Raises:
        Refusal: It is not let through.
    """
    place = Place.of(service.key)
    others = [(name, value) for name, value in headers if name != _SERVERLESS]
    unchecked = service.value["metadata"]["annotations"].get(UNCHECKED, "").lower() == "true"  # gcloud writes True [O]
    if unchecked or universe.policies.allows(ANONYMOUS, INVOKE, place.resource):
        # What the caller sends is the service's own to judge, as in the second article's first half [M]. A header that is meant for Cloud
        # Run alone is not passed on [?].
        return Admission(ANONYMOUS, others)
    named = _SERVERLESS if len(others) != len(headers) else _AUTHORIZATION
    token = _token([value for name, value in headers if name == named])
    caller = _caller(universe, _verified(universe, service, token))
    if not universe.policies.allows(caller, INVOKE, place.resource):
        raise Refusal(403, f"{caller.name} lacks {INVOKE} on {place.resource.path}.", caller.name)
    if named == _SERVERLESS:
        return Admission(caller, others)
    blank = b"Bearer " + token.rpartition(b".")[0] + b"." + _REMOVED
    return Admission(caller, [(name, blank if name == _AUTHORIZATION else value) for name, value in others])


def _token(values: list[bytes]) -> bytes:
    if not values:
        raise Refusal(403, "The request has no token.")
    if len(values) > 1:
        raise Refusal(401, "The request has several tokens.")  # [?]: which one counts is not documented, so none does
    scheme, _, token = values[0].strip(b" \t").partition(b" ")
    if scheme.lower() != b"bearer":
        raise Refusal(403, "The request has no bearer token.")  # [?]
    return token.strip(b" ")


def _verified(universe: Universe, service: Record, token: bytes) -> VerifiedToken:
    names = (*urls_of(universe, Place.of(service.key)), *custom_audiences(service.value), GCLOUD_CLIENT)
    keys = KeySet.parse(msgspec.json.encode(universe.signing_key.jwks()))
    verifier = Verifier(issuer=_GOOGLE, audiences=[Audience(name) for name in names], keys=keys)
    try:
        return verifier.verify(token, now=universe.clock.now())
    except TokenError as error:
        raise Refusal(401, f"{error.what} {error.why}") from None


def _caller(universe: Universe, token: VerifiedToken) -> Caller:
    """Say whom Google's token speaks for: an account by its unique id, which no other account ever has; a user by email."""
    caller = universe.identities.subject(token.subject, token.claims)
    if caller is None:
        raise Refusal(401, f"The subject {token.subject} is nobody that Google knows.")
    # The audience of `gcloud auth print-identity-token`: Cloud Run takes it from people, who try their services so [R]. Whether from
    # service accounts as well is not known: they are refused [?].
    if token.audience == GCLOUD_CLIENT and not caller.is_user:
        raise Refusal(401, "Only people may use gcloud's own audience.", caller.name)
    return caller
