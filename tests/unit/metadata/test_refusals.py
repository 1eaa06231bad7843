# SPDX-License-Identifier: Apache-2.0
"""Why there is no token: the status that makes a client do the right thing, GKE's words, and the cure."""

import pytest

from podpass.errors import (
    ConfigError,
    ExchangeRefusedError,
    ExchangeUnavailableError,
    ImpersonationRefusedError,
    PodpassError,
    SourceUnavailableError,
    UnreachableError,
)
from podpass.metadata.refusals import refusal


def impersonation(kind: str, why: str) -> ImpersonationRefusedError:
    what = "Google refused a token of the service account E."
    return ImpersonationRefusedError(what, why, "Do this.", code=f"credential.impersonation-refused.{kind}")


def test_an_unbound_account_is_403_in_gke_s_words_with_the_cure() -> None:
    denied = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
    answer = refusal(impersonation("permission-denied", denied), "access token")
    assert answer.status == 403
    assert answer.body.decode() == (
        f"Unable to generate access token; IAM returned 403 Forbidden: {denied}\n"
        "Google refused a token of the service account E.\nDo this.\n[credential.impersonation-refused.permission-denied]\n"
    )


def test_an_account_that_google_does_not_know_is_404_in_gke_s_words() -> None:
    answer = refusal(impersonation("not-found", "Not found; Gaia id not found for email E."), "access token")
    assert answer.status == 404
    assert answer.body.startswith(
        b"Unable to generate access token; IAM returned 404 Not Found: Not found; Gaia id not found for email E.\n"
    )


@pytest.mark.parametrize(
    "error",
    [ExchangeRefusedError("STS refused.", "Because.", "Do this."), ConfigError("The annotation is wrong.", "Because.", "Do this.")],
)
def test_what_will_not_mend_by_itself_ends_the_client_s_attempts(error: PodpassError) -> None:
    answer = refusal(error, "identity token")
    assert answer.status == 403
    assert answer.body.decode() == f"Unable to generate identity token; {error.what}\nBecause.\nDo this.\n[{error.full_code}]\n"


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (ExchangeUnavailableError("Google is away.", retry_after_s=6.2), "7"),
        (ExchangeUnavailableError("Google is away.", retry_after_s=0), "1"),
        (UnreachableError("No answer."), "5"),
        (SourceUnavailableError("No token file."), "5"),
    ],
)
def test_what_may_pass_is_503_and_says_when_to_ask_again(error: PodpassError, seconds: str) -> None:
    answer = refusal(error, "access token")
    assert answer.status == 503
    assert ("retry-after", seconds) in answer.headers
    assert ("metadata-flavor", "Google") in answer.headers
