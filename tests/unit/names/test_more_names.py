# SPDX-License-Identifier: Apache-2.0
"""Names of buckets, projects and roles, and the words that are left out of other people's messages."""

from time import process_time

import pytest

from podpass.errors import ConfigError
from podpass.names import GoogleServiceAccount
from podpass.names.bucket import check_bucket_name
from podpass.names.project import check_project_id
from podpass.names.role import check_role
from podpass.names.secret import redact


@pytest.mark.parametrize("name", ["abc", "demo-oidc", "a.b.example", "x" * 63, "under_score"])
def test_good_bucket_names_pass(name: str) -> None:
    assert check_bucket_name(name) == name


@pytest.mark.parametrize(
    "name", ["ab", "x" * 64, "-abc", "abc-", "Abc", "a..b", "192.168.0.1", "goog-a", "my-google-x", "gs://abc", "a/b", "abc\n"]
)
def test_bad_bucket_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the name of a bucket"):
        check_bucket_name(name)


@pytest.mark.parametrize("project", ["short", "9demo-project", "Demo-project", "demo-project-", "example.com:demo", "x" * 31])
def test_bad_project_ids_are_refused(project: str) -> None:
    with pytest.raises(ConfigError, match="cannot be the id of a Google project"):
        check_project_id(project)


@pytest.mark.parametrize(
    ("account", "has"), [("abc", "has 3 characters"), ("Shop_one", "has 'S', '_'"), ("1shops", "begins with '1' and ends in 's'")]
)
def test_what_is_wrong_with_an_account_s_id_is_named(account: str, has: str) -> None:
    with pytest.raises(ConfigError, match=f"; this one {has}[.] "):
        GoogleServiceAccount.parse(account, project="demo-project")


@pytest.mark.parametrize("role", ["roles/storage.admin", "projects/demo-project/roles/myRole", "organizations/123/roles/my_role"])
def test_good_roles_pass(role: str) -> None:
    assert check_role(role) == role


@pytest.mark.parametrize("role", ["", "storage.admin", "roles/", "Roles/a", "roles/a b", "folders/1/roles/x"])
def test_bad_roles_are_refused(role: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of an IAM role"):
        check_role(role)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("token eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln is bad", "token … is bad"),
        ("ya29.c.b0Aaekm1K-abc_def failed", "… failed"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer …"),
        ("1//0gAbCdEfGhIjKlMnOpQrStUv expired", "… expired"),
        (
            "The audience in ID Token [//iam.googleapis.com/x] does not match",
            "The audience in ID Token [//iam.googleapis.com/x] does not match",
        ),
    ],
)
def test_what_looks_like_a_token_is_left_out(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_a_neighbours_words_command_no_terminal() -> None:
    assert redact("gone\x1b[2J\x9b1A\r\n\tstays") == "gone\ufffd[2J\ufffd1A\ufffd\n\tstays"


def test_beginnings_of_tokens_without_an_end_take_no_time() -> None:
    begun = process_time()
    redact("eyJ" * 100_000)  # searched as a whole: over a minute
    assert process_time() - begun < 1
