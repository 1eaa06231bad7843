# SPDX-License-Identifier: Apache-2.0
"""Who is let in: clients of a metadata server, and nobody who can be made to send a request by somebody else."""

import pytest

from podpass.metadata.answer import Answer
from podpass.metadata.incoming import Gate, RefusedRequestError

GATE = Gate.for_port(8987)
EMAIL = b"/computeMetadata/v1/instance/service-accounts/default/email"
GOOD = [(b"host", b"127.0.0.1:8987"), (b"metadata-flavor", b"Google")]
Headers = list[tuple[bytes, bytes]]


def refused(headers: Headers | None = None, *, method: str = "GET", path: bytes = EMAIL, query: bytes = b"") -> Answer:
    with pytest.raises(RefusedRequestError) as refusal:
        GATE.admit(method, path, query, GOOD if headers is None else headers)
    return refusal.value.answer


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:8987",
        "localhost:8987",
        "[::1]:8987",
        "metadata.google.internal",
        "METADATA.google.internal",
        "metadata.google.internal.",
        "metadata.google.internal:80",
        "metadata:8987",
        "169.254.169.254",
    ],
)
def test_a_client_that_means_this_server_is_let_in(host: str) -> None:
    assert GATE.admit("GET", EMAIL, b"", [(b"host", host.encode()), GOOD[1]]).path == EMAIL.decode()


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8987",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.0.0.1:8988",
        "metadata.google.internal.evil.example",
        "10.0.0.7:8987",
    ],
)
def test_a_name_that_was_bound_to_this_address_by_somebody_else_is_refused(host: str) -> None:
    assert refused([(b"host", host.encode()), GOOD[1]]).status == 403


def test_without_a_host_or_with_two_nobody_is_let_in() -> None:
    assert refused([GOOD[1]]).status == 403
    assert refused([GOOD[0], *GOOD]).status == 403


def test_on_port_80_clients_leave_the_port_out() -> None:
    assert Gate.for_port(80).admit("GET", EMAIL, b"", [(b"host", b"127.0.0.1"), GOOD[1]]).query == {}


@pytest.mark.parametrize("flavor", [[], [b"google"], [b"Amazon"], [b""], [b"Google", b"Google"], [b"Google, Google"]])
def test_without_the_header_that_no_web_page_can_send_the_request_is_refused_in_gke_s_words(flavor: list[bytes]) -> None:
    answer = refused([GOOD[0], *((b"metadata-flavor", each) for each in flavor)])
    assert (answer.status, answer.body) == (403, b'Missing required header "Metadata-Flavor": "Google"\n')


def test_the_root_tells_who_answers_without_that_header_as_go_s_probe_wants() -> None:
    assert GATE.admit("GET", b"/", b"", GOOD[:1]).path == "/"


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"forwarded"])
def test_a_forwarded_request_is_refused_also_at_the_root(name: bytes) -> None:
    for path in (b"/", EMAIL):
        assert refused([*GOOD, (name, b"10.0.0.1")], path=path).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "CONNECT"])
def test_other_methods_than_reading_ones_are_refused(method: str) -> None:
    answer = refused(method=method)
    assert answer.status == 405
    assert ("allow", "GET, HEAD") in answer.headers


def test_every_refusal_says_whose_server_this_is() -> None:
    assert {("metadata-flavor", "Google")} <= set(refused([]).headers) & set(refused(method="POST").headers)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (b"a=" + b"x" * 9000, 414),
        (b"&".join(b"a%d=1" % number for number in range(17)), 400),
        (b"audience=a&audience=b", 400),
        (b"a=%ff", 400),
    ],
)
def test_queries_that_no_client_sends_are_refused(query: bytes, status: int) -> None:
    assert refused(query=query).status == status


def test_a_path_of_other_bytes_than_ascii_is_refused() -> None:
    assert refused(path=b"/computeMetadata/v1/\xff").status == 400


@pytest.mark.parametrize(
    "query",
    [
        b"audience=https://orders.example/a?b&format=standard&licenses=FALSE",  # gcloud
        b"format=full&audience=https://orders.example/a?b",  # Node
        b"audience=https%3A%2F%2Forders.example%2Fa%3Fb&format=full",  # Python
    ],
)
def test_an_audience_is_read_as_each_client_writes_it(query: bytes) -> None:
    assert GATE.admit("GET", EMAIL, query, GOOD).query["audience"] == "https://orders.example/a?b"
