# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta

import pytest

from podpass.federate.clusters.flags import ServiceAccountFlags, parse_arguments, parse_duration

COMMAND = [
    "kube-apiserver",
    "--service-account-issuer=https://new.example",
    "--service-account-issuer",
    "https://old.example",
    "--api-audiences=https://new.example, https://old.example",
    "--service-account-key-file=/a.pub",
    "--service-account-key-file=/b.pub",
    "--service-account-signing-key-file=/a.key",
    "--service-account-jwks-uri=https://new.example/keys.json",
    "--service-account-max-token-expiration=48h0m0s",
    "--service-account-extend-token-expiration=false",
    "--secure-port=6443",
]
FLAGS = ServiceAccountFlags(
    issuers=("https://new.example", "https://old.example"),
    api_audiences=("https://new.example", "https://old.example"),
    key_files=("/a.pub", "/b.pub"),
    signing_key_file="/a.key",
    jwks_uri="https://new.example/keys.json",
    max_token_expiration=timedelta(hours=48),
    extend_token_expiration=False,
)


def test_flags_are_read_from_a_command_line_in_their_order() -> None:
    assert ServiceAccountFlags.of(parse_arguments(COMMAND)) == FLAGS


def test_flags_that_are_written_are_read_as_the_same() -> None:
    assert ServiceAccountFlags.of(FLAGS.settings()) == FLAGS
    assert list(ServiceAccountFlags().settings()) == []


def test_the_audiences_are_the_issuers_unless_somebody_gave_some() -> None:
    assert ServiceAccountFlags(issuers=("https://a", "https://b")).accepted_audiences == ("https://a", "https://b")
    assert FLAGS.accepted_audiences == FLAGS.api_audiences


def test_a_flag_without_a_value_is_true_and_the_last_one_counts() -> None:
    assert parse_arguments(["--profiling", "--v=2"]) == [("profiling", "true"), ("v", "2")]
    again = [("service-account-signing-key-file", "/a"), ("service-account-signing-key-file", "/b")]
    assert ServiceAccountFlags.of(again).signing_key_file == "/b"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("48h0m0s", 172800), ("1h30m", 5400), ("90s", 90), ("1.5h", 5400), ("0s", None), ("", None), ("2 days", None), ("h", None)],
)
def test_durations_are_read_as_go_writes_them(text: str, expected: int | None) -> None:
    assert parse_duration(text) == (None if expected is None else timedelta(seconds=expected))
