# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.guard.handing_on import Edit, edit_for, edited
from podpass.policy import HandlerToken, InvokerPolicy

AUTH, SERVERLESS, OTHER = b"authorization", b"x-serverless-authorization", (b"accept", b"*/*")
TOKEN, REMOVED = b"Bearer a.b.c", b"Bearer a.b.SIGNATURE_REMOVED_BY_GOOGLE"
WHOLE, UNSIGNED, NONE = HandlerToken

Headers = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("wish", "serverless", "headers", "edit"),
    [
        (WHOLE, False, [(AUTH, TOKEN)], None),
        (WHOLE, False, [(SERVERLESS, TOKEN)], None),
        (WHOLE, True, [(AUTH, TOKEN)], None),
        (WHOLE, True, [(AUTH, TOKEN), (SERVERLESS, TOKEN)], (SERVERLESS, None)),
        (WHOLE, True, [(SERVERLESS, b"Basic x")], (SERVERLESS, None)),
        (UNSIGNED, False, [(AUTH, TOKEN), (SERVERLESS, TOKEN)], (AUTH, REMOVED)),
        (UNSIGNED, True, [(AUTH, TOKEN), (SERVERLESS, b"bearer  x.y.z")], (SERVERLESS, b"Bearer x.y.SIGNATURE_REMOVED_BY_GOOGLE")),
        (UNSIGNED, True, [(AUTH, TOKEN)], (AUTH, REMOVED)),
        (UNSIGNED, True, [(SERVERLESS, b"Basic x"), (AUTH, TOKEN)], (SERVERLESS, None)),
        (UNSIGNED, True, [], None),
        (UNSIGNED, False, [(AUTH, b"Basic x")], None),
        (NONE, False, [(AUTH, TOKEN)], (AUTH, None)),
        (NONE, False, [(AUTH, b"Basic x")], None),
        (NONE, True, [(AUTH, TOKEN), (SERVERLESS, TOKEN)], (SERVERLESS, None)),
    ],
)
def test_the_header_that_held_the_token_is_changed_as_the_policy_wants(
    wish: HandlerToken,
    serverless: bool,  # noqa: FBT001 - a column of the table
    headers: Headers,
    edit: Edit | None,
) -> None:
    policy = InvokerPolicy("p", serverless_authorization=serverless, handler_token=wish)
    assert edit_for([OTHER, *headers], policy) == edit


def test_the_other_headers_stay() -> None:
    headers = [OTHER, (AUTH, TOKEN), OTHER]
    assert edited(headers, (AUTH, None)) == [OTHER, OTHER]
    assert edited(headers, (AUTH, REMOVED)) == [OTHER, OTHER, (AUTH, REMOVED)]
