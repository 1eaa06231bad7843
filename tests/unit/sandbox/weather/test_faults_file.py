# SPDX-License-Identifier: Apache-2.0
"""A faults file becomes faults, or every mistake in it."""

import json
from datetime import timedelta
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

import jsonschema
import pytest
import yaml

from podpass.errors import ConfigError
from podpass.sandbox.faults_file import FaultsFileError, load, parse
from podpass.sandbox.weather import schema
from podpass.sandbox.weather.faults import Act, Faults, GoogleWeather, Match, Rule, When

FILE = Path("faults.yaml")
HEAD = "apiVersion: podpass.dev/v1alpha1\nkind: Faults\nmetadata: {name: storm}\n"
SCHEMA = jsonschema.Draft202012Validator(json.loads(schema.PATH.read_text()))


def with_spec(spec: str) -> str:
    return f"{HEAD}spec:\n{indent(dedent(spec), '  ')}"


def read(spec: str, *, kubernetes: bool = True) -> Faults:
    text = with_spec(spec)
    SCHEMA.validate(yaml.safe_load(text))
    return parse(text.encode(), FILE, kubernetes=kubernetes)


def mistakes(spec: str, *, kubernetes: bool = True) -> list[str]:
    with pytest.raises(FaultsFileError) as caught:
        parse(with_spec(spec).encode(), FILE, kubernetes=kubernetes)
    return caught.value.why.splitlines()


def test_everything_that_a_file_can_say_is_read() -> None:
    assert read("""
      seed: 7
      google:
        clockSkew: -300
        disabledApis: [iamcredentials.googleapis.com]
        allowedIssuers: [https://issuer.example]
        signingKey: replaced
      rules:
        - name: exchange
          match: {method: sts.token, host: sts.*, path: /v1/token, caller: anonymous}
          when: {after: 60, until: 660, nth: 2, every: 2, percent: 50, times: 3}
          then: {delayMs: 20, error: 429, message: Slow down, retryAfter: 7, bodyMs: 30, body: "<html>", connection: body-truncated}
        - match: {method: kubernetes.serviceaccounts/token.create}
          then: {connection: reset}
    """) == Faults(
        "storm",
        7,
        GoogleWeather(timedelta(minutes=-5), ("iamcredentials.googleapis.com",), ("https://issuer.example",), "replaced"),
        (
            Rule(
                "exchange",
                Act(20, 429, "Slow down", 7, "<html>", 30, "body-truncated"),
                Match("sts.token", "sts.*", "/v1/token", "anonymous"),
                When(60, 660, 2, 2, 50, 3),
            ),
            Rule("rules[1]", Act(connection="reset"), Match("kubernetes.serviceaccounts/token.create")),
        ),
    )


def test_what_is_left_out_is_fair_weather() -> None:
    assert read("{}") == Faults("storm")


def test_all_mistakes_are_told_at_once_each_with_its_place() -> None:
    assert mistakes("""
      sead: 7
      rules:
        - match: {method: sts.tokn}
          then: {error: 200}
        - then: {}
        - then: {retryAfter: 3}
        - then: {connection: reset, error: 503}
        - then: {delayMs: 5}
          when: {after: 60, until: 60}
    """) == [
        "faults.yaml:6:3: spec.sead: The key 'sead' is unknown. Did you mean 'seed'? [config.unknown-key]",
        "faults.yaml:9:21: spec.rules[0].then.error: 200 is outside 400 to 599 HTTP status. Write a number from 400 to 599. [config.range]",
        "faults.yaml:10:13: spec.rules[1].then: This rule does nothing. Write delayMs, error, body, bodyMs or connection. [config.fault]",
        (
            "faults.yaml:11:13: spec.rules[2].then: There is no error that message and retryAfter could belong to. "
            "Write an error, such as 503. [config.fault]"
        ),
        (
            "faults.yaml:12:13: spec.rules[3].then: With connection: reset nobody sees an answer. "
            "Remove error, body and bodyMs, or the connection. [config.fault]"
        ),
        (
            "faults.yaml:14:13: spec.rules[4].when: This rule ends (60 s) before it begins (60 s). "
            "Write an until that is greater than after. [config.fault]"
        ),
    ]


@pytest.mark.parametrize(
    ("match", "told"),
    [
        ("method: sts.tokn", "No method of this sandbox is 'sts.tokn'. Did you mean 'sts.token'?"),
        ("method: kubernetes.configmap.create", "Did you mean 'kubernetes.configmaps.create'?"),
        ("host: example.com", "No host of this sandbox is 'example.com'. docs/reference/faults.md lists them."),
    ],
)
def test_a_pattern_that_can_never_fit_is_a_mistake(match: str, told: str) -> None:
    assert told in mistakes(f"rules: [{{match: {{{match}}}, then: {{error: 503}}}}]")[0]


@pytest.mark.parametrize("match", ["method: kubernetes.pods.get", "host: kubernetes"])
def test_a_real_control_plane_has_no_weather(match: str) -> None:
    rules = f"rules: [{{match: {{{match}}}, then: {{error: 503}}}}]"
    read(rules)
    assert "Only the built-in API server has weather; a real control plane has not." in mistakes(rules, kubernetes=False)[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "This file is empty. Write a document of kind Faults."),
        (HEAD.replace("Faults", "Fault"), "'Fault' is unknown here. podpass reads Faults here. Write Faults."),
        (HEAD, "The key 'spec' is missing. What shall go wrong."),
        (f"{HEAD}spec: {{}}\n---\n{HEAD}spec: {{}}", "A file holds one document; here begins another one. Move it to its own file."),
    ],
)
def test_what_is_no_faults_file_is_told(text: str, told: str) -> None:
    with pytest.raises(FaultsFileError, match="mistake") as caught:
        parse(text.encode(), FILE, kubernetes=True)
    assert told in caught.value.why


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, kubernetes=True)


def test_the_shipped_schema_is_what_the_declaration_gives() -> None:
    assert schema.PATH.read_text() == schema.render(), "run: python -m podpass.sandbox.weather.schema"


def test_every_key_stands_in_the_reference(request: pytest.FixtureRequest) -> None:
    text = (request.config.rootpath / "docs/reference/faults.md").read_text()

    def keys(node: dict[str, Any]) -> set[str]:
        nested = {**node.get("properties", {}), **node.get("items", {}).get("properties", {})}
        return set(nested).union(*(keys(value) for value in nested.values())) if nested else set()

    assert {key for key in keys(json.loads(schema.PATH.read_text())) if f"`{key}`" not in text and f"{key}:" not in text} == set()
