# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta
from pathlib import Path

import pytest

from podpass.config.federation import GENERATED, BucketSettings, Federation, Grant, GrantCondition, NodeSettings
from podpass.config.mistakes import FederationFileError
from podpass.config.reading import load, parse
from podpass.errors import ConfigError
from podpass.names import GoogleServiceAccount, Issuer, ServiceAccountRef

FULL = """\
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {name: workload-identity-demo}
spec:
  cluster:
    kubeconfig: kubeconfig
    context: admin@demo
    distribution: talos
    talos: {talosconfig: /etc/talosconfig}
  issuer:
    url: https://storage.googleapis.com/demo-oidc
    keys: bucket
    bucket: {name: demo-oidc, location: us-east1}
  google:
    project: demo-project
    pool: {id: workload-identity-demo, displayName: Workload Identity Demo}
    provider: {id: wif-demo-oidc}
    attributeMapping:
      google.subject: assertion.sub
      attribute.sub: assertion.sub
      attribute.namespace: assertion['kubernetes.io'].namespace
    attributeCondition: assertion.sub != 'x'
  workloads:
    - serviceAccount: default/workload-identity-demo
      googleServiceAccount: wif-demo-sa
      member: attribute.sub
      roles: [roles/storage.admin]
      grants:
        - {role: roles/storage.objectViewer, bucket: other-bucket, condition: {title: t, expression: e}}
        - {role: roles/viewer, project: other-project}
      token: {expiration: 7200}
      credentials: {configMap: sts-config, key: config, tokenPath: /var/run/secrets/tokens/gcp-ksa/token}
    - serviceAccount: default/other
      googleServiceAccount: other@shared-project.iam.gserviceaccount.com
"""
LEAST = """\
apiVersion: podpass.dev/v1alpha1
kind: Federation
metadata: {name: demo}
spec:
  google: {project: demo-project, pool: {id: demo}, provider: {id: demo}}
  workloads: [{serviceAccount: default/a}]
"""


def read(text: str) -> Federation:
    return parse(text.encode(), Path("/somewhere/podpass.yaml"))


def test_how_nodes_are_reached_is_read_as_words() -> None:
    cluster = 'cluster: {distribution: k3s, nodes: {command: [ssh, "root@{node}", sudo, -n, sh]}}'
    found = read(LEAST.replace("  google:", f"  {cluster}\n  google:")).cluster.nodes
    assert found == NodeSettings(("ssh", "root@{node}", "sudo", "-n", "sh"))


def test_everything_that_a_file_can_say_is_read() -> None:
    federation = read(FULL)
    assert federation.name == "workload-identity-demo"
    assert federation.cluster.kubeconfig == Path("/somewhere/kubeconfig")
    assert federation.cluster.context == "admin@demo"
    assert federation.cluster.talos is not None
    assert federation.cluster.talos.talosconfig == Path("/etc/talosconfig")
    assert federation.cluster.nodes is None
    assert federation.issuer.url == Issuer("https://storage.googleapis.com/demo-oidc")
    assert federation.issuer.bucket == BucketSettings("demo-oidc", "us-east1")
    assert federation.google.pool.display_name == "Workload Identity Demo"
    assert federation.google.attribute_mapping["attribute.namespace"] == "assertion['kubernetes.io'].namespace"
    assert federation.google.attribute_condition == "assertion.sub != 'x'"
    first, second = federation.workloads
    assert first.service_account == ServiceAccountRef("default", "workload-identity-demo")
    assert first.google_service_account == GoogleServiceAccount("wif-demo-sa@demo-project.iam.gserviceaccount.com")
    assert not first.account_is_existing
    assert first.grants == (
        Grant("roles/storage.objectViewer", bucket="other-bucket", condition=GrantCondition("t", "e")),
        Grant("roles/viewer", project="other-project"),
    )
    assert first.token.expiration == timedelta(hours=2)
    assert second.google_service_account == GoogleServiceAccount("other@shared-project.iam.gserviceaccount.com")
    assert second.account_is_existing


def test_what_is_left_out_has_its_default() -> None:
    federation = read(LEAST)
    assert federation.cluster.kubeconfig is None
    assert federation.cluster.distribution == "auto"
    assert federation.issuer.url == "keep"
    assert federation.issuer.keys is None
    assert dict(federation.google.attribute_mapping) == {"google.subject": "assertion.sub"}
    assert federation.google.attribute_condition is GENERATED
    (workload,) = federation.workloads
    assert workload.google_service_account is None
    assert workload.member == "subject"
    assert workload.token.expiration == timedelta(hours=1)
    assert workload.credentials is None


def test_a_condition_can_be_left_out_on_purpose() -> None:
    assert read(LEAST.replace("provider: {id: demo}", "provider: {id: demo}, attributeCondition: none")).google.attribute_condition is None


def test_a_word_that_yaml_would_change_is_read_from_quotes() -> None:
    condition = '"true"'
    text = LEAST.replace("provider: {id: demo}", f"provider: {{id: demo}}, attributeCondition: {condition}")
    assert read(text).google.attribute_condition == "true"


def test_an_alias_is_followed() -> None:
    text = LEAST.replace(
        "[{serviceAccount: default/a}]", "[{serviceAccount: default/a, roles: &r [roles/a]}, {serviceAccount: b/b, roles: *r}]"
    )
    assert [workload.roles for workload in read(text).workloads] == [("roles/a",), ("roles/a",)]


def test_a_byte_order_mark_is_passed_over() -> None:
    assert parse(b"\xef\xbb\xbf" + LEAST.encode(), Path("podpass.yaml")).name == "demo"


def test_a_place_is_found_for_values_that_are_there_and_for_those_that_are_not() -> None:
    source = read(FULL).source
    assert source.where("spec.google.pool.displayName") == "/somewhere/podpass.yaml:16:53"
    assert source.where("spec.workloads[1].token.expiration") == "/somewhere/podpass.yaml:33:7"
    assert source.where("nowhere") == "/somewhere/podpass.yaml:1:1"


def test_positions_are_no_part_of_what_a_file_says() -> None:
    assert read(LEAST) == read("# a comment\n" + LEAST)


def test_load_reads_the_examples(request: pytest.FixtureRequest) -> None:
    files = sorted((request.config.rootpath / "examples").glob("*/podpass.yaml"))
    assert [load(file).google.project for file in files] == ["demo-project"] * len(files)
    assert files


def test_a_missing_file_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "podpass.yaml")
    assert str(caught.value) == (
        f"{tmp_path}/podpass.yaml cannot be read. No such file or directory. Run `podpass init` to write one, or name it with -f."
    )
    assert caught.value.full_code == "config.unreadable"


def test_a_directory_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read\. Is a directory\. Name the file in it with -f\."):
        load(tmp_path)


def test_messages_call_the_file_as_the_reader_called_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("podpass.yaml").write_text("[]")
    with pytest.raises(FederationFileError, match=r"^podpass.yaml has one mistake\. podpass.yaml:1:1: "):
        load(Path("podpass.yaml"))
