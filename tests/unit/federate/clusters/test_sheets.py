# SPDX-License-Identifier: Apache-2.0
"""For each distribution: the files that are written become the flags that were meant, in the right order of steps."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

from podpass.errors import ConfigError
from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.lint import findings
from podpass.federate.clusters.move import Move, plan_move
from podpass.federate.clusters.portrait import draw
from podpass.federate.clusters.reading import read
from podpass.federate.clusters.rendering import render
from podpass.federate.clusters.sheet import Sheet
from podpass.federate.clusters.sheets import kubeadm, talos_patch
from podpass.federate.clusters.talosctl import flags_of
from podpass.names import Issuer
from unit.federate.clusters.recorded import CLUSTERS, SINGLE
from unit.federate.clusters.rendered import NEW, RENDERERS, changes, file_of

SCHEMAS = os.environ.get("PODPASS_TALOS_SCHEMAS", "")
ERAS = {"1.7.7": "1.7", "1.9.6": "1.9", "1.11.6": "1.11", "1.13.9": "1.13", "1.14.0-rc.1": "1.14"}


def planned(name: str) -> tuple[Move, Sheet]:
    evidence = CLUSTERS[name]
    portrait = draw(evidence)
    assert portrait.distribution.value
    move = plan_move(evidence, portrait, Issuer(NEW))
    return move, render(move, evidence, portrait.distribution.value.name)


@pytest.mark.parametrize("name", RENDERERS)
def test_the_files_become_the_flags_that_were_meant(name: str, tmp_path: Path) -> None:
    move, sheet = planned(name)
    rendered = {stage: ServiceAccountFlags.of(RENDERERS[name](step, tmp_path)) for stage, step in changes(sheet).items()}
    if name == "minikube":  # its flags are options of a command
        (step,) = [one for one in sheet.steps if one.title == "Switch"]
        rendered = {"switch": ServiceAccountFlags.of(RENDERERS[name](step, tmp_path))}
    wanted = {stage.name: stage.flags for stage in move.left(several=name not in SINGLE)}
    assert {stage: (flags.issuers, set(flags.api_audiences)) for stage, flags in rendered.items()} == {
        stage: (flags.issuers, set(flags.api_audiences)) for stage, flags in wanted.items()
    }


@pytest.mark.parametrize("name", CLUSTERS)
def test_keys_are_published_before_the_new_issuer_signs(name: str) -> None:
    titles = [step.title.partition(",")[0].partition(":")[0] for step in planned(name)[1].steps]
    alone = ["Publish", "Switch"]
    assert titles == (alone if name in SINGLE else ["Accept", *alone, "Wait", "Drop"])


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_will_be_felt_is_said_before_the_first_step(name: str) -> None:
    text = planned(name)[1].text()
    head = text.partition("\n## ")[0]
    assert ("This cluster takes one issuer." in head) == (name in SINGLE)
    assert ("computed, not measured" in text) == (name not in SINGLE)
    if name.startswith("talos"):
        assert "Talos before 1.14 verifies with that one key only" in head


@pytest.mark.parametrize("name", [name for name in CLUSTERS if name not in SINGLE])
def test_the_lint_finds_no_fault_in_what_is_rendered_but_the_drop(name: str) -> None:
    _, sheet = planned(name)
    files = [file for step in sheet.steps if not step.title.startswith("Drop") for file in step.files if file.path.endswith(".yaml")]
    texts = [file.content for file in files if "patches" not in file.path and "kubeadm.yaml" not in file.path]
    # kops' file is a piece of a Cluster.
    faults = [one.code for text in texts for one in findings(read(_whole(text), "f")) if one.severity == "error"]
    assert faults == []


def _whole(text: str) -> str:
    content = yaml.safe_load(text)
    return text if "spec" not in content else json.dumps({"apiVersion": "kops.k8s.io/v1alpha2", "kind": "Cluster", **content})


@pytest.mark.parametrize("name", CLUSTERS)
def test_nothing_secret_and_no_audience_of_googles_is_in_a_sheet(name: str) -> None:
    text = planned(name)[1].text()
    assert "PRIVATE" not in text
    assert "workloadIdentityPools" not in text


@pytest.mark.parametrize("version", ["v1beta3", "v1beta4"])
def test_the_users_configuration_of_kubeadm_survives(version: str) -> None:
    current = CLUSTERS[f"kubeadm-{version}"].kubeadm
    assert current
    before, after = yaml.safe_load(current), yaml.safe_load(kubeadm.configuration(current, ServiceAccountFlags((NEW,), (NEW,))))
    assert {key: value for key, value in after.items() if key != "apiServer"} == {k: v for k, v in before.items() if k != "apiServer"}
    assert after["apiServer"]["certSANs"] == ["demo.example"]
    assert "profiling" in json.dumps(after["apiServer"]["extraArgs"])
    again = kubeadm.configuration(yaml.safe_dump(after), ServiceAccountFlags((NEW,), (NEW,)))
    assert yaml.safe_load(again) == after  # written twice, it is there once


def test_kubeadm_keeps_the_port_of_an_api_server_that_has_another() -> None:
    evidence = CLUSTERS["kubeadm-v1beta4"]
    first, *rest = evidence.commands
    moved = (*first, "--advertise-address=10.0.0.1", "--secure-port=7443")
    portrait = draw(evidence)
    sheet = render(plan_move(evidence, portrait, Issuer(NEW)), replace(evidence, commands=(moved, *rest)), "kubeadm")
    step = changes(sheet)["accept"]
    ports = [
        yaml.safe_load(file_of(step, f"{name}/kubeadm.yaml").partition("---")[0])["localAPIEndpoint"]["bindPort"]
        for name in ("cp-1", "cp-2")
    ]
    assert ports == [7443, 6443]


def test_clusters_api_machines_get_the_other_issuer_by_a_patch() -> None:
    evidence = CLUSTERS["kubeadm-v1beta4"]
    machines = tuple(Node(node.name, labels=node.labels, annotations={"cluster.x-k8s.io/machine": "m"}) for node in evidence.nodes)
    evidence = Evidence(
        evidence.server, evidence.version, machines, evidence.discovery, commands=evidence.commands, kubeadm=evidence.kubeadm
    )
    portrait = draw(evidence)
    assert portrait.distribution.value
    sheet = render(plan_move(evidence, portrait, Issuer(NEW)), evidence, portrait.distribution.value.name)
    spec = yaml.safe_load(file_of(changes(sheet)["switch"], "switch.yaml"))["spec"]["kubeadmConfigSpec"]
    assert {"name": "service-account-issuer", "value": NEW} in spec["clusterConfiguration"]["apiServer"]["extraArgs"]
    assert "kubernetes.default.svc" in spec["files"][0]["content"]
    assert "files" not in yaml.safe_load(file_of(changes(sheet)["drop"], "drop.yaml"))["spec"]["kubeadmConfigSpec"]


@pytest.mark.parametrize(("distribution", "why"), [("eks", "provider's"), ("gke", "provider's"), ("other", "does not know")])
def test_what_nobody_may_change_is_refused_with_the_reason(distribution: str, why: str) -> None:
    move, _ = planned("kubeadm-v1beta4")
    with pytest.raises(ConfigError) as refusal:
        render(move, CLUSTERS["kubeadm-v1beta4"], distribution)  # type: ignore[arg-type]  # each of them is one
    assert why in refusal.value.why


def test_talos_of_no_known_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no version of Talos"):
        talos_patch.era_of("2.0.0")


def test_documents_of_talos_are_recognised() -> None:
    assert talos_patch.has_documents("cluster: {}\n---\napiVersion: v1alpha1\nkind: KubeAPIServerConfig\n")
    assert not talos_patch.has_documents("machine: {}\n")


@pytest.mark.parametrize("release", ERAS)
@pytest.mark.parametrize("documents", [False, True])
def test_the_published_schema_of_each_era_takes_the_patched_configuration(release: str, documents: bool) -> None:  # noqa: FBT001 - a row
    if not SCHEMAS:
        pytest.skip("PODPASS_TALOS_SCHEMAS names no folder with config.schema-vVERSION.json of Talos' releases (siderolabs/talos, MPL-2.0)")
    era = talos_patch.era_of(release)
    if documents and era is not talos_patch.Era.DOCUMENTS:
        pytest.skip("there are no documents for kube-apiserver before 1.14")
    if not documents and era is talos_patch.Era.DOCUMENTS:
        pytest.skip("Talos 1.14 still reads .cluster.apiServer, and its published schema leaves out what is deprecated")
    schema = json.loads((Path(SCHEMAS) / f"config.schema-v{release}.json").read_text())
    move = Move(ServiceAccountFlags(("https://10.0.0.1:6443",), ("https://10.0.0.1:6443",)), NEW)
    for stage in move.left(several=talos_patch.takes_several_issuers(era)):
        patch = yaml.safe_load(talos_patch.patch(stage.flags, era, has_documents=documents))
        config = _patched(patch, documents=documents)
        jsonschema.Draft202012Validator(schema).validate(config)
        broken = json.loads(json.dumps(config).replace("service-account-issuer", "x").replace('"extraArgs"', '"extraArguments"'))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft202012Validator(schema).validate(broken)


def _patched(patch: dict[str, object], *, documents: bool) -> dict[str, object]:
    """Lay a patch over a configuration as Talos does: maps are merged, and a flag's value takes the place of the old one."""
    if documents:
        return {"image": "registry.k8s.io/kube-apiserver:v1.36.3", **patch}
    whole = {"version": "v1alpha1", "machine": {"type": "controlplane"}, "cluster": {"apiServer": {"certSANs": ["demo.example"]}}}
    server = patch["cluster"]["apiServer"]  # type: ignore[index]  # as podpass writes it
    return whole | {"cluster": {"apiServer": {"certSANs": ["demo.example"], **server}}}


def test_talosctl_takes_the_patch_and_calls_the_result_valid(tmp_path: Path) -> None:
    if not shutil.which("talosctl"):
        pytest.skip("talosctl is not installed: https://www.talos.dev/latest/talos-guides/install/talosctl/")

    def talosctl(*words: str) -> str:
        return subprocess.run(["talosctl", *words], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True).stdout

    endpoint = "https://10.0.0.1:6443"
    talosctl("gen", "config", "demo", endpoint, "--output-dir", ".", "--with-docs=false", "--with-examples=false")
    found = re.search(r"Tag:\s*v(\S+)", talosctl("version", "--client"))
    assert found
    era, config = talos_patch.era_of(found[1]), (tmp_path / "controlplane.yaml").read_text()
    move = Move(ServiceAccountFlags((endpoint,), (endpoint,)), NEW)
    for stage in move.left(several=talos_patch.takes_several_issuers(era)):
        (tmp_path / "patch.yaml").write_text(talos_patch.patch(stage.flags, era, has_documents=talos_patch.has_documents(config)))
        talosctl("machineconfig", "patch", "controlplane.yaml", "--patch", "@patch.yaml", "--output", "patched.yaml")
        talosctl("validate", "--config", "patched.yaml", "--mode", "metal")
        told = flags_of((tmp_path / "patched.yaml").read_text())
        assert (told.issuers, told.api_audiences) == (stage.flags.issuers, stage.flags.api_audiences)
