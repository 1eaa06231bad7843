# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable

import httpx2
import pytest

from podpass.errors import UnexpectedAnswerError, UnreachableError
from podpass.federate.doctor.published import LIMIT_BYTES, published_keys
from podpass.federate.model.documents import published
from podpass.names import Issuer

ISSUER = Issuer("https://storage.googleapis.com/demo-oidc")
DISCOVERY = "/demo-oidc/.well-known/openid-configuration"
KEYS = "/demo-oidc/keys.json"


def host(pages: dict[str, httpx2.Response]) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(lambda request: pages.get(request.url.path, httpx2.Response(403))))


def page(text: str) -> httpx2.Response:
    return httpx2.Response(200, text=text)


def test_what_podpass_publishes_is_found_as_google_finds_it(jwks: str) -> None:
    documents = {f"/demo-oidc/{path}": page(text) for path, text in published(ISSUER, jwks).items()}
    assert len(published_keys(host(documents), ISSUER).keys) == 2


def test_what_not_everybody_may_read_is_told() -> None:
    with pytest.raises(UnreachableError, match=r"cannot be read by everybody \(403\)"):
        published_keys(host({}), ISSUER)


def test_what_is_not_there_is_told_from_what_is_locked() -> None:
    with pytest.raises(UnreachableError, match=r"There is nothing at .*openid-configuration \(404\)\. .* `podpass apply`"):
        published_keys(host({DISCOVERY: httpx2.Response(404)}), ISSUER)


def test_the_document_of_another_issuer_is_told() -> None:
    with pytest.raises(UnexpectedAnswerError, match="is another issuer's"):
        published_keys(host({DISCOVERY: page('{"issuer": "https://storage.googleapis.com/demo-oidc/"}')}), ISSUER)


@pytest.mark.parametrize("keys", ["null", '"http://storage.googleapis.com/demo-oidc/keys.json"'])
def test_keys_without_https_are_not_fetched(keys: str) -> None:
    document = page(f'{{"issuer": "{ISSUER}", "jwks_uri": {keys}}}')
    with pytest.raises(UnexpectedAnswerError, match="names no https address"):
        published_keys(host({DISCOVERY: document, KEYS: page("{}")}), ISSUER)


@pytest.mark.parametrize("text", ["", "[]", "{" + " " * LIMIT_BYTES + "}"])
def test_what_is_no_document_is_told(text: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match="is not a JSON object"):
        published_keys(host({DISCOVERY: page(text)}), ISSUER)


def test_a_redirect_is_not_followed() -> None:
    with pytest.raises(UnreachableError, match="302"):
        published_keys(host({DISCOVERY: httpx2.Response(302, headers={"location": "https://elsewhere.example/"})}), ISSUER)


def test_a_host_that_gives_no_answer_is_named() -> None:
    def dead(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    handler: Callable[[httpx2.Request], httpx2.Response] = dead
    with pytest.raises(UnreachableError, match=r"storage\.googleapis\.com gave no answer"):
        published_keys(httpx2.Client(transport=httpx2.MockTransport(handler)), ISSUER)
