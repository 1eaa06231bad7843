# SPDX-License-Identifier: Apache-2.0
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from podpass.demo import google, manifests, services
from podpass.demo.services import FILES
from podpass.demo.story import StoryError
from podpass.policy.reading import parse

EXAMPLES = Path(__file__).parents[3] / "examples"
SHIPPED = Path(manifests.__file__).parent


@pytest.mark.parametrize("name", ["first_article", "second_article", "second_article_google"])
def test_demo_walks_the_very_files_of_the_examples(name: str) -> None:
    shipped = {file.name: file.read_text() for file in (SHIPPED / name).iterdir()}
    example = {file.name: file.read_text() for file in (EXAMPLES / name.replace("_", "-")).iterdir()}
    assert shipped == {name: text for name, text in example.items() if name in shipped}
    assert {name for name in example if name.endswith((".yaml", ".env"))} == set(shipped)


def by_name(objects: list[Any]) -> dict[tuple[str, str], Any]:
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


@pytest.mark.kubectl
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("folder", [services.FILES, google.FILES], ids=lambda folder: folder.name)
def test_kustomization_is_read_as_kubectl_reads_it(folder: Path) -> None:
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True)
    assert by_name(manifests.read(folder)) == by_name(list(yaml.safe_load_all(done.stdout)))


def test_what_others_need_is_made_before_them() -> None:
    kinds = [manifest["kind"] for manifest in manifests.read(FILES)]
    assert kinds[0] == "Namespace"
    assert set(kinds[-2:]) == {"Pod"}


def test_kustomization_that_only_kubectl_reads_is_refused_with_its_keys(tmp_path: Path) -> None:
    shutil.copytree(FILES, tmp_path / "copy")
    file = tmp_path / "copy" / "kustomization.yaml"
    file.write_text(file.read_text() + "namePrefix: other-\n")
    with pytest.raises(StoryError, match=r"keys that only kubectl reads\. namePrefix\. Install kubectl"):
        manifests.read(tmp_path / "copy")


def test_kubectl_that_is_too_old_for_the_sandbox_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "kubectl"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert manifests.kubectl() is None
    for version, found in (("v1.28.9", None), ("v1.29.0", str(program)), ("v2.0.0", str(program))):
        program.write_text(f"#!/bin/sh\necho Client Version: {version}\n")
        program.chmod(0o755)
        assert manifests.kubectl() == found


def test_policy_of_the_example_is_good() -> None:
    policy = parse((FILES / "policy.yaml").read_bytes(), FILES / "policy.yaml")
    assert policy.name == "auth-server"
