# SPDX-License-Identifier: Apache-2.0
"""Kinds that are questions: nothing is stored, the answer is in the status."""

from collections.abc import Callable
from typing import Final

from lightkube.models.authentication_v1 import SelfSubjectReview, TokenReview
from lightkube.models.authorization_v1 import SelfSubjectAccessReview

from podpass.sandbox.kubernetes.authentication import Authenticator, UnauthenticatedError, User
from podpass.sandbox.kubernetes.authorization import Action, allows
from podpass.sandbox.kubernetes.kind import Json, Kind
from podpass.sandbox.kubernetes.status import StatusError

_AUTHENTICATION, _AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"
_ASKED: Final = ("create",)


def _token_review(review: Json, _: User, authenticator: Authenticator) -> Json:
    spec = review["spec"]
    if not spec.get("token"):
        raise StatusError(400, "token is required for TokenReview in authentication")
    try:
        user, audiences = authenticator.authenticate(spec["token"], tuple(spec.get("audiences") or ()))
    except UnauthenticatedError as error:
        return {"user": {}, "error": str(error)}
    return {"authenticated": True, "user": user.to_json(), "audiences": list(audiences)}


def _self_subject_review(_: Json, user: User, __: Authenticator) -> Json:
    return {"userInfo": user.to_json()}


def _access_review(review: Json, user: User, authenticator: Authenticator) -> Json:
    spec = review["spec"]
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if (resource is None) is (path is None):
        raise StatusError(422, "exactly one of nonResourceAttributes or resourceAttributes must be specified")
    known = ("verb", "path", "group", "resource", "subresource", "namespace", "name")
    asked = {name: value for name, value in (resource or path).items() if name in known}
    return {"allowed": allows(authenticator.objects, user, Action(**{"verb": "", **asked}))}


Answer = Callable[[Json, User, Authenticator], Json]
REVIEWS: Final[dict[Kind, Answer]] = {
    Kind(TokenReview, "tokenreviews", group=_AUTHENTICATION, namespaced=False, verbs=_ASKED): _token_review,
    Kind(SelfSubjectReview, "selfsubjectreviews", group=_AUTHENTICATION, namespaced=False, verbs=_ASKED): _self_subject_review,
    Kind(SelfSubjectAccessReview, "selfsubjectaccessreviews", group=_AUTHORIZATION, namespaced=False, verbs=_ASKED): _access_review,
}
