# SPDX-License-Identifier: Apache-2.0
"""The tree and what is answered from it: paths, forms, and which token an answer needs."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest

from podpass.exchange.tokens import AccessToken, IdToken
from podpass.metadata.answer import Answer
from podpass.metadata.answers import AccessTokenWanted, IdTokenWanted, Waiting, Wanted, answer, of_access_token, of_id_token, ping, waiting
from podpass.metadata.incoming import Incoming
from podpass.metadata.tree import Facts, Machine, tree_of
from podpass.names import Secret

EMAIL = "shop-sa@demo-project.iam.gserviceaccount.com"
MACHINE = Machine("node-1", 8449023622403882045, "europe-west3-a", {"cluster-name": "demo", "cluster-location": "europe-west3"})
FACTS = Facts(EMAIL, "415104041262", "demo-project", MACHINE)
PLATFORM = "https://www.googleapis.com/auth/cloud-platform"
TOP = "/computeMetadata/v1/"
ACCOUNT = f"{TOP}instance/service-accounts/default/"


def incoming(target: str) -> Incoming:
    path, _, query = target.partition("?")
    return Incoming(path, dict(parse_qsl(query, keep_blank_values=True)), query)


def ask(target: str, facts: Facts = FACTS) -> Wanted:
    return answer(incoming(target if target.startswith("/") else TOP + target), tree_of(facts))


def said(target: str, facts: Facts = FACTS) -> Answer:
    found = ask(target, facts)
    assert isinstance(found, Answer)
    return found


def header(found: Answer, name: str) -> str | None:
    return dict(found.headers).get(name)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("project/project-id", "demo-project"),
        ("project/numeric-project-id", "415104041262"),
        ("universe/universe-domain", "googleapis.com"),
        ("universe/universe_domain", "googleapis.com"),
        ("instance/id", "8449023622403882045"),
        ("instance/name", "node-1"),
        ("instance/hostname", "node-1"),
        ("instance/zone", "projects/415104041262/zones/europe-west3-a"),
        ("instance/attributes/cluster-name", "demo"),
        ("instance/attributes/cluster-location", "europe-west3"),
        ("instance/service-accounts/default/email", EMAIL),
        (f"instance/service-accounts/{EMAIL}/email", EMAIL),
        (f"instance/service-accounts/{EMAIL.replace('@', '%40')}/email", EMAIL),
    ],
)
def test_a_value_is_the_value_and_nothing_after_it(path: str, value: str) -> None:
    found = said(path)
    assert (found.status, found.body.decode(), header(found, "content-type")) == (200, value, "application/text")
    assert header(found, "metadata-flavor") == "Google"


@pytest.mark.parametrize(
    ("path", "lines"),
    [
        ("/computeMetadata/", ["v1/"]),
        (TOP, ["instance/", "project/", "universe/"]),
        ("project/", ["numeric-project-id", "project-id"]),
        ("universe/", ["universe-domain"]),
        ("instance/", ["attributes/", "hostname", "id", "name", "service-accounts/", "zone"]),
        ("instance/attributes/", ["cluster-location", "cluster-name"]),
        ("instance/service-accounts/", ["default/", f"{EMAIL}/"]),
        ("instance/service-accounts/default/", ["aliases", "email", "identity", "scopes", "token"]),
        ("instance/service-accounts/default/aliases", ["default"]),
        ("instance/service-accounts/default/scopes", [PLATFORM]),
    ],
)
def test_a_directory_is_listed_line_by_line(path: str, lines: list[str]) -> None:
    assert said(path).body.decode() == "".join(f"{line}\n" for line in lines)
    assert json.loads(said(f"{path}?alt=json").body) == lines


def test_the_account_that_python_and_gcloud_read_is_json() -> None:
    found = said("instance/service-accounts/default/?recursive=true")
    assert header(found, "content-type") == "application/json"
    assert json.loads(found.body) == {"aliases": ["default"], "email": EMAIL, "scopes": [PLATFORM]}


def test_everything_at_once_has_google_s_names_and_no_token() -> None:
    everything = json.loads(said(f"{TOP}?recursive=TRUE").body)
    account = {"aliases": ["default"], "email": EMAIL, "scopes": [PLATFORM]}
    assert everything == {
        "instance": {
            "attributes": {"cluster-location": "europe-west3", "cluster-name": "demo"},
            "hostname": "node-1",
            "id": 8449023622403882045,
            "name": "node-1",
            "serviceAccounts": {"default": account, EMAIL: account},
            "zone": "projects/415104041262/zones/europe-west3-a",
        },
        "project": {"numericProjectId": 415104041262, "projectId": "demo-project"},
        "universe": {"universeDomain": "googleapis.com"},
    }


def test_everything_as_text_is_a_line_for_each_value() -> None:
    lines = said("instance/?recursive=true&alt=text").body.decode().splitlines()
    assert "id 8449023622403882045" in lines
    assert f"service-accounts/default/scopes {PLATFORM}" in lines
    assert not any("token" in line or "identity" in line for line in lines)


def test_a_leaf_as_json_is_quoted_text_or_a_number() -> None:
    assert said("project/project-id?alt=json").body == b'"demo-project"'
    assert said("project/numeric-project-id?alt=json").body == b"415104041262"


def test_another_form_than_json_and_text_is_refused() -> None:
    assert said("project/project-id?alt=xml").status == 400


@pytest.mark.parametrize("path", ["/computeMetadata", "/computeMetadata/v1", f"{TOP}instance", f"{TOP}instance/service-accounts/default"])
def test_a_directory_without_its_slash_is_redirected_on_the_same_host_with_its_query(path: str) -> None:
    found = said(f"{path}?recursive=true")
    assert (found.status, header(found, "location")) == (301, f"{path}/?recursive=true")
    assert header(said(path), "location") == f"{path}/"


@pytest.mark.parametrize(
    "path",
    [
        "nope",
        "instance/service-accounts/default/email/",
        "instance//service-accounts/",
        "instance/../project/project-id",
        "instance/./id",
        "instance/%69d",
        "instance/service-accounts/default%2Femail",
        "INSTANCE/id",
        "//evil.example/computeMetadata/v1/instance",
        "http://metadata.google.internal/computeMetadata/v1/instance/id",
        "/computeMetadata/v1beta1/instance/id",
        "/0.1/meta-data/service-accounts/default/acquire",
    ],
)
def test_a_path_that_is_not_in_the_tree_does_not_exist_however_it_is_spelled(path: str) -> None:
    found = said(path if path.startswith(("/", "http")) else TOP + path)
    assert found.status == 404
    assert header(found, "metadata-flavor") == "Google"
    assert header(found, "location") is None


def test_a_mistyped_account_is_told_which_there_are() -> None:
    found = said("instance/service-accounts/shop@demo-project.iam.gserviceaccount.com/token")
    assert (found.status, found.body.decode()) == (404, f"No such account here. This pod has default and {EMAIL}.\n")


def test_what_the_operator_has_not_told_is_404_with_the_flag_that_tells_it_and_in_no_listing() -> None:
    bare = replace(FACTS, project_id=None, machine=Machine("node-1", 1))
    assert said("project/project-id", bare).body.startswith(b"The project's id is not known: give podpass metadata-server --project-id")
    assert said("instance/zone", bare).status == 404
    assert said("project/", bare).body == b"numeric-project-id\n"
    assert json.loads(said("project/?recursive=true", bare).body) == {"numericProjectId": 415104041262}
    assert said("instance/attributes/", bare).body == b""


def test_the_ping_needs_no_identity() -> None:
    found = ping(incoming("/"))
    assert found is not None
    assert (found.status, found.body) == (200, b"computeMetadata/\n")
    assert ping(incoming(TOP)) is None


@pytest.mark.parametrize(
    ("query", "scopes"),
    [
        ("", None),
        ("?scopes=", None),
        (f"?scopes={PLATFORM}", None),
        ("?scopes=b,a", ("a", "b")),
        ("?scopes=a,b,a", ("a", "b")),
        ("?scopes=https%3A%2F%2Fx%2C%20a", ("a", "https://x")),
    ],
)
def test_scopes_in_any_order_are_one_token(query: str, scopes: tuple[str, ...] | None) -> None:
    assert ask(f"{ACCOUNT}token{query}") == AccessTokenWanted(scopes)


@pytest.mark.parametrize("scopes", ["%22", "a%0Ab", "x" * 257, ",".join(f"s{number}" for number in range(33))])
def test_scopes_that_are_none_are_refused(scopes: str) -> None:
    assert said(f"{ACCOUNT}token?scopes={scopes}").status == 400


def test_an_id_token_is_for_an_audience_in_either_format() -> None:
    for query in ("audience=https://orders.example", "audience=https://orders.example&format=full&licenses=TRUE"):
        assert ask(f"{ACCOUNT}identity?{query}") == IdTokenWanted("https://orders.example")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", b"non-empty audience parameter required\n"),
        ("?audience=", b"non-empty audience parameter required\n"),
        ("?audience=a%20b", b"'a b' cannot be an audience."),
        ("?audience=" + "x" * 257, b"cannot be an audience."),
        ("?audience=a&format=jwe", b"The parameter format is standard or full.\n"),
    ],
)
def test_an_id_token_for_nobody_is_refused(query: str, words: bytes) -> None:
    found = said(f"{ACCOUNT}identity{query}")
    assert found.status == 400
    assert words in found.body


def test_a_workload_without_an_account_has_no_id_tokens_and_is_told_why() -> None:
    found = said(f"{ACCOUNT}identity?audience=a", replace(FACTS, no_id_token="Annotate it."))
    assert (found.status, found.body) == (404, b"Annotate it.\n")


def test_the_etag_changes_with_the_content_and_tokens_have_none() -> None:
    other = replace(FACTS, email=f"other-{EMAIL}")
    path = "instance/service-accounts/?recursive=true"
    assert said(path).etag == said(path).etag != said(path, other).etag
    token = AccessToken(Secret("t", "access token"), datetime(2026, 1, 1, tzinfo=UTC))
    assert of_access_token(token, token.expires_at).etag is None


def test_a_token_s_life_is_told_in_whole_seconds_and_never_below_none() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    token = AccessToken(Secret("ya29.x", "access token"), now + timedelta(seconds=3599.9))
    assert json.loads(of_access_token(token, now).body) == {"access_token": "ya29.x", "expires_in": 3599, "token_type": "Bearer"}
    assert json.loads(of_access_token(token, now + timedelta(hours=2)).body)["expires_in"] == 0


def test_an_id_token_is_the_body_and_no_answer_shows_its_body() -> None:
    found = of_id_token(IdToken(Secret("a.b.c", "ID token"), datetime(2026, 1, 1, tzinfo=UTC)))
    assert found.body == b"a.b.c"
    assert repr(found) == "<Answer 200, 5 bytes>"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", None),
        ("wait_for_change=false", None),
        ("wait_for_change=true", Waiting(None, 3600)),
        ("wait_for_change=true&last_etag=abc&timeout_sec=5", Waiting("abc", 5)),
        ("wait_for_change=true&timeout_sec=99999", Waiting(None, 3600)),
    ],
)
def test_who_waits_for_a_change_says_what_it_has_and_how_long_it_waits(query: str, expected: Waiting | None) -> None:
    assert waiting(incoming(f"{TOP}?{query}")) == expected


@pytest.mark.parametrize("timeout", ["", "-1", "1.5", "soon", "9" * 12, "\u0663"])
def test_a_time_limit_that_is_none_is_refused(timeout: str) -> None:
    refused = waiting(incoming(f"{TOP}?wait_for_change=true&timeout_sec={timeout}"))
    assert isinstance(refused, Answer)
    assert refused.status == 400
