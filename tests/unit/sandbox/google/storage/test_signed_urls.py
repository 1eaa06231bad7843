# SPDX-License-Identifier: Apache-2.0
"""Signed URLs as google-cloud-storage makes them, and bent in every part."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from google.auth.credentials import Signing
from google.cloud.storage._signing import generate_signed_url_v4

from podpass.sandbox.google.message import Answer, Request
from unit.sandbox.google.storage.cloud import HOST, Cloud
from unit.sandbox.google.world import EMAIL, PROJECT

NAME = "reports/2026 März.txt"
RESOURCE = f"/demo/{quote(NAME)}"
ADMIN = "roles/storage.objectAdmin"


class Signer(Signing):
    """The account, with the key that Google manages for it."""

    signer_email = EMAIL
    signer = None

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    def sign_bytes(self, message: bytes) -> bytes:
        """Sign a URL."""
        key = self._cloud.universe.account_key(EMAIL)
        assert key
        return key.sign_bytes(message)


@pytest.fixture
def signed(cloud: Cloud) -> Cloud:
    """A bucket with an object that the account may read, write and delete."""
    answer = cloud.google.handle(
        Request(
            "POST",
            "iam.googleapis.com",
            f"/v1/projects/{PROJECT}/serviceAccounts",
            headers={"authorization": f"Bearer {cloud.universe.identities.user_token('operator@example.com', [])}"},
            body=b'{"accountId": "demo-sa"}',
        )
    )
    assert answer.status == 200
    cloud.clock.step(cloud.universe.settings.account_visibility)
    cloud.uniform_bucket()
    cloud.put(quote(NAME), b"the report")
    cloud.grant(ADMIN, f"serviceAccount:{EMAIL}")
    return cloud


def url(cloud: Cloud, method: str = "GET", expiration: int = 600, **more: Any) -> str:  # noqa: ANN401 - the library's own keywords
    stamp = cloud.clock.now().strftime("%Y%m%dT%H%M%SZ")
    made = generate_signed_url_v4(Signer(cloud), RESOURCE, timedelta(seconds=expiration), method=method, _request_timestamp=stamp, **more)
    return str(made)


def send(cloud: Cloud, link: str, verb: str = "GET", body: bytes = b"", **headers: str) -> Answer:
    parts = urlsplit(link)
    fields = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
    return cloud.google.handle(Request(verb, parts.netloc, parts.path, parts.query, fields, body))


def code(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body.decode().partition("<Code>")[2].partition("</Code>")[0]


def test_a_signed_url_stands_for_the_account(signed: Cloud) -> None:
    link = url(signed)
    assert send(signed, link).body == b"the report"
    assert signed.universe.log.entries()[-1]["caller"] == EMAIL
    assert send(signed, link, user_agent="curl", range="bytes=0-2").body == b"the"


def test_with_a_signed_url_objects_are_put_and_deleted(signed: Cloud) -> None:
    link = url(signed, "PUT", content_type="text/css", headers={"x-goog-meta-a": "b"})
    assert send(signed, link, "PUT", b"new", content_type="text/css", x_goog_meta_a="b").status == 200
    answer = send(signed, url(signed))
    assert (answer.body, answer.headers["content-type"]) == (b"new", "text/css")
    assert send(signed, url(signed, "DELETE"), "DELETE").status == 204
    assert code(send(signed, url(signed))) == (404, "NoSuchKey")


def test_a_signed_url_ends(signed: Cloud) -> None:
    link = url(signed, expiration=600)
    signed.clock.step(timedelta(seconds=599))
    assert send(signed, link).status == 200
    signed.clock.step(timedelta(seconds=1))
    assert code(send(signed, link)) == (400, "ExpiredToken")
    early = url(signed)
    signed.clock.step(-timedelta(hours=1))
    assert code(send(signed, early))[0] == 400


def changed(before: str, after: str) -> Callable[[str], str]:
    def change(link: str) -> str:
        assert before in link
        return link.replace(before, after)

    return change


BENT: list[tuple[str, Callable[[str], str], int]] = [
    ("another object", changed("/reports/", "/secrets/"), 403),
    ("the object's name written otherwise", changed("%20", "%2520"), 403),
    ("a longer life", changed("X-Goog-Expires=600", "X-Goog-Expires=601"), 403),
    ("a life of more than a week", changed("X-Goog-Expires=600", "X-Goog-Expires=604801"), 400),
    ("no life", changed("X-Goog-Expires=600", "X-Goog-Expires=0"), 400),
    ("a life that is no number", changed("X-Goog-Expires=600", "X-Goog-Expires=1e9"), 400),
    ("one more parameter", lambda link: f"{link}&generation=1", 403),
    ("a parameter twice", lambda link: f"{link}&X-Goog-Expires=600", 400),
    ("another day", changed("20260102%2F", "20260103%2F"), 400),
    ("another account", changed("demo-sa%40", "other%40"), 403),
    ("another service", changed("%2Fstorage%2F", "%2Fiam%2F"), 400),
    ("no host in the signature", changed("SignedHeaders=host", "SignedHeaders=accept"), 400),
    ("a header that is not sent", changed("SignedHeaders=host", "SignedHeaders=host%3Bx-other"), 400),
    ("a signature that is none", changed("X-Goog-Signature=", "X-Goog-Signature=zz"), 403),
    ("no signature", lambda link: link.partition("&X-Goog-Signature")[0], 400),
    ("an HMAC", changed("GOOG4-RSA-SHA256", "GOOG4-HMAC-SHA256"), 400),
]


@pytest.mark.parametrize(("bend", "status"), [each[1:] for each in BENT], ids=[each[0] for each in BENT])
def test_a_bent_url_opens_nothing(signed: Cloud, bend: Callable[[str], str], status: int) -> None:
    assert send(signed, bend(url(signed))).status == status


def test_a_url_for_one_verb_or_body_is_for_no_other(signed: Cloud) -> None:
    assert code(send(signed, url(signed), "PUT", b"x")) == (403, "SignatureDoesNotMatch")
    assert code(send(signed, url(signed), "DELETE")) == (403, "SignatureDoesNotMatch")
    digest = {"x-goog-content-sha256": "0" * 64}
    assert send(signed, url(signed, "PUT", headers=digest), "PUT", b"x", x_goog_content_sha256="0" * 64).status == 400


def test_a_header_of_google_s_must_be_signed(signed: Cloud) -> None:
    assert code(send(signed, url(signed), x_goog_meta_a="b")) == (400, "MalformedSecurityHeader")
    link = url(signed, headers={"x-goog-meta-a": "b"})
    assert code(send(signed, link, x_goog_meta_a="c")) == (403, "SignatureDoesNotMatch")
    assert send(signed, link, x_goog_meta_a="b").status == 200


def test_a_signature_gives_what_iam_gives_the_account_and_no_more(signed: Cloud) -> None:
    link = url(signed)
    signed.own("PUT", "/storage/v1/b/demo/iam", {"bindings": [{"role": "roles/storage.admin", "members": ["user:operator@example.com"]}]})
    signed.clock.step(signed.universe.settings.propagation)
    assert code(send(signed, link)) == (403, "AccessDenied")


def test_the_json_api_takes_no_signature(signed: Cloud) -> None:
    link = url(signed)
    path = f"/storage/v1/b/demo/o/{quote(NAME, safe='')}"
    assert send(signed, link.replace(RESOURCE, path)).status == 401
