# SPDX-License-Identifier: Apache-2.0
"""The exported script: every kind and action, as commands that a shell can read."""

import shlex
import subprocess
from dataclasses import replace

import pytest
import yaml

from podpass.config.federation import BucketSettings, Federation, Grant, GrantCondition, IssuerSettings, PoolSettings, Workload
from podpass.federate.desired import desired
from podpass.federate.export.manifests import manifests
from podpass.federate.export.script import script
from podpass.federate.model.change import Action, Change, FieldChange
from podpass.federate.model.facts import Facts
from podpass.federate.model.plan import Plan, Subject
from podpass.federate.model.resource import Observed, Resource
from podpass.federate.planning import diff
from podpass.federate.records.receipt import Receipt
from podpass.names import Issuer

SUBJECT = Subject("demo", "cluster-a", "demo-project", "415104041262", "https://a.example", "//x")
NOBODY = Receipt("demo", "cluster-a", "demo-project")


def plan_of(resources: tuple[Resource, ...], **observed: Observed) -> Plan:
    return Plan(SUBJECT, resources, diff.changes(resources, observed, NOBODY))


@pytest.fixture
def everything(federation: Federation, facts: Facts, workload: Workload) -> tuple[Resource, ...]:
    condition = GrantCondition("It's, A", "resource.name == 'x'")
    grants = (Grant("roles/storage.objectViewer", bucket="other", condition=condition), Grant("roles/viewer", project="other"))
    issuer = IssuerSettings(Issuer("https://storage.googleapis.com/demo-oidc"), "bucket", BucketSettings("demo-oidc"))
    return desired.resources(replace(federation, issuer=issuer, workloads=(replace(workload, grants=grants),)), facts)


def check_syntax(text: str) -> None:
    subprocess.run(["sh", "-n"], input=text, text=True, check=True)


def test_everything_new_is_made_in_the_order_of_the_plan(everything: tuple[Resource, ...]) -> None:
    text = script(plan_of(everything))
    check_syntax(text)
    lines = [line for line in text.splitlines() if line.startswith("# create ")]
    assert lines == [f"# create {resource.address}" for resource in everything]
    assert "gcloud services enable sts.googleapis.com --project=demo-project" in text
    assert "--condition='^;^title=It'" not in text  # quoted as a whole
    assert "Made by podpass" not in text


def test_inline_keys_go_through_a_file(federation: Federation, facts: Facts) -> None:
    text = script(plan_of(desired.resources(federation, facts)))
    check_syntax(text)
    assert "keys=$(mktemp)" in text
    assert '--jwk-json-path="$keys"' in text


@pytest.mark.parametrize("action", [Action.UPDATE, Action.UNDELETE, Action.ADOPT, Action.DELETE])
def test_every_kind_and_action_is_shell(everything: tuple[Resource, ...], action: Action) -> None:
    changes = tuple(Change(one.address, action, one.identity, before=one.identity, after=one.body) for one in everything)
    text = script(Plan(SUBJECT, everything, changes))
    check_syntax(text)
    if action is Action.DELETE:
        assert "gcloud iam workload-identity-pools delete workload-identity-demo --location=global --project=demo-project --quiet" in text
        assert "remove-iam-policy-binding" in text
        assert "add-iam-policy-binding" not in text


def test_a_separator_in_an_expression_splits_nothing(federation: Federation, facts: Facts) -> None:
    subject = "assertion.sub.split(';google.subject=assertion.aud;')[0]"
    google = replace(federation.google, attribute_mapping={**federation.google.attribute_mapping, "google.subject": subject})
    text = script(plan_of(desired.resources(replace(federation, google=google), facts)))
    (words,) = [shlex.split(line) for line in text.splitlines() if "create-oidc" in line]
    (flag,) = [word for word in words if word.startswith("--attribute-mapping=")]
    _, separator, pairs = flag.removeprefix("--attribute-mapping=").split("^", 2)
    assert f"google.subject={subject}" in pairs.split(separator)


def test_what_is_changed_is_changed_and_nothing_is_updated_with_nothing(federation: Federation, facts: Facts) -> None:
    found = desired.resources(replace(federation, google=replace(federation.google, pool=PoolSettings("demo-pool"))), facts)
    pool, provider = (desired.by_address(found)[address] for address in ("pool/demo-pool", f"provider/{federation.google.provider.id}"))
    undeleted = tuple(Change(one.address, Action.UNDELETE, one.identity, after=one.body) for one in (pool, provider))
    text = script(Plan(SUBJECT, found, undeleted))
    assert "workload-identity-pools undelete demo-pool " in text
    assert "workload-identity-pools update" not in text
    enabled = (FieldChange("disabled", before=True, after=False),)
    text = script(Plan(SUBJECT, found, tuple(replace(one, action=Action.UPDATE, fields=enabled) for one in undeleted)))
    assert "workload-identity-pools update demo-pool --location=global --project=demo-project --no-disabled" in text
    assert text.count("--no-disabled") == 2


def test_nothing_to_do_is_an_empty_script() -> None:
    text = script(Plan(SUBJECT, (), ()))
    check_syntax(text)
    assert "0 changes" in text
    assert "gcloud" not in text


def test_manifests_hold_accounts_and_config_maps_as_people_write_them(federation: Federation, facts: Facts) -> None:
    resources = desired.resources(federation, facts)
    text = manifests(federation, plan_of(resources))
    account, config_map = yaml.safe_load_all(text)
    assert account["metadata"] == {"namespace": "default", "name": "workload-identity-demo"}
    assert config_map["data"]["config"] == desired.by_address(resources)["configmap/default/sts-config"].body["content"]
    assert "config: |-\n" in text
