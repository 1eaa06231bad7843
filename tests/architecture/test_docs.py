# SPDX-License-Identifier: Apache-2.0
"""Every example of the documents is run: files are read by podpass, commands are typed into a sandbox, programs are executed."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from architecture.doc_blocks import Block, blocks_of
from podpass.cli.root import COMMANDS
from podpass.config.reading import load
from podpass.demo.images import IMAGES
from podpass.sandbox import faults_file
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Entering a sandbox is what the test has done already; the README's targets run in CI themselves; the longest demo has a test of its own,
# which reads the table in the tutorial.
SKIPPED = re.compile(r"make\b|podpass sandbox exec -- bash$|podpass demo google$")

TOOLS = {"kubectl": "https://kubernetes.io/docs/tasks/tools/", "gcloud": "https://cloud.google.com/sdk/docs/install"}

# A dozen calls of gcloud, which take a second each, are for the long suite, and so is what waits for pods half of the time; scenario tests
# walk the same ways: federate/test_adoption.py, and google/test_google.py beside cross/test_gcloud_run.py.
LONG = {"adopt-what-exists.md", "google-identity.md"}


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_federation_files_in_the_documents_are_good(path: Path, tmp_path: Path) -> None:
    for number, block in enumerate(blocks_of(path)):
        if block.language == "yaml" and "kind: Federation" in block.text:
            file = tmp_path / f"{number}.yaml"
            file.write_text(block.text)
            load(file)


def test_faults_files_in_the_documents_are_good() -> None:
    files = [block.text for path in DOCUMENTS for block in blocks_of(path) if block.language == "yaml" and "kind: Faults" in block.text]
    assert files
    for text in files:
        faults_file.parse(text.encode(), Path("faults.yaml"), kubernetes=True)


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text())
    assert [target for target in targets if not (path.parent / target).exists()] == []


def test_the_index_leads_to_every_document() -> None:
    index = (ROOT / "docs/README.md").read_text()
    documents = [str(path.relative_to(ROOT / "docs")) for path in DOCUMENTS[1:] if path.name != "README.md"]
    assert [path for path in documents if f"({path})" not in index] == []


def _with_commands() -> Iterator[ParameterSet]:
    for path in DOCUMENTS:
        if any(block.language == "console" for block in blocks_of(path)):
            yield pytest.param(path, marks=[pytest.mark.slow] if path.name in LONG else [], id=ids(path))


@pytest.mark.parametrize("path", list(_with_commands()))
def test_commands_in_the_documents_do_what_they_say(path: Path, tmp_path: Path) -> None:
    blocks = blocks_of(path)
    commands = "\n".join(command for block in blocks if block.language == "console" for command, _ in block.commands)
    for tool, where in TOOLS.items():
        if tool in commands and not shutil.which(tool):
            pytest.skip(f"{tool} is not installed: {where}")
    with HostedSandbox(SandboxSettings(propagation=timedelta(milliseconds=200)), images=IMAGES) as sandbox:
        environment = os.environ | sandbox.environment()
        environment |= {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}", "NO_COLOR": "1", "COLUMNS": "80"}
        for block in blocks:
            follow(block, tmp_path, environment)


def follow(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Do what a reader does who meets this block."""
    if block.name or (block.language == "yaml" and "kind: Federation" in block.text):
        (folder / (block.name or "podpass.yaml")).write_text(block.text)
    for command, expected in block.commands if block.language == "console" else []:
        if SKIPPED.match(command):
            continue
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}"
        missing = [line for line in expected if line not in done.stdout + done.stderr]
        assert missing == [], f"$ {command}\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=ids)
def test_programs_in_the_documents_run(path: Path, tmp_path: Path) -> None:
    for block in blocks_of(path):
        if block.language == "python":
            done = subprocess.run(
                [sys.executable, "-c", block.text], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
            )
            assert done.returncode == 0, done.stderr


def test_readme_and_tutorial_name_commands_that_exist() -> None:
    for path in DOCUMENTS:
        named = set(re.findall(r"\bpodpass ([a-z-]+)", " ".join(re.findall(r"`[^`\n]+`|\$ [^\n]+", path.read_text()))))
        unknown = named - set(COMMANDS) - {"sandbox"}
        assert not unknown, f"{path}: {unknown}"


def test_the_reference_has_every_command() -> None:
    rows = "".join(line for line in (ROOT / "docs/reference/commands.md").read_text().splitlines() if line.startswith("| `"))
    assert [name for name in COMMANDS if f"`{name}" not in rows] == []
