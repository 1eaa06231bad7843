# SPDX-License-Identifier: Apache-2.0
"""The volumes of a pod: where they are written, and where never."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from podpass.clock import SystemClock
from podpass.sandbox.cluster_client import ClusterClient
from podpass.sandbox.node.mounts import MountError
from podpass.sandbox.node.sources import PodSources
from podpass.sandbox.node.volumes import PodVolumes


def write(directory: Path, *volumes: dict[str, Any]) -> None:
    pod = {"metadata": {"name": "p", "namespace": "default", "uid": "u"}, "spec": {"volumes": list(volumes)}}
    client = ClusterClient.__new__(ClusterClient)  # asked for nothing: the fields are the pod's own
    asyncio.run(PodVolumes(pod, directory, PodSources(client, pod, SystemClock())).write())


def fields(name: str) -> dict[str, Any]:
    return {"name": name, "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}}


def test_volume_is_a_directory_of_the_agents(tmp_path: Path) -> None:
    write(tmp_path / "volumes", fields("mine"), {"name": "empty"})
    assert (tmp_path / "volumes" / "mine" / "name").read_text() == "p"
    assert (tmp_path / "volumes" / "empty").is_dir()


@pytest.mark.parametrize("name", ["{victim}", "../victim", "..", "a/b", "", "a" * 64])
def test_name_that_is_no_label_leads_to_no_directory_of_the_machine(tmp_path: Path, name: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious").write_text("kept")
    (tmp_path / "volumes").mkdir()
    with pytest.raises(MountError, match="cannot be the name of a volume"):
        write(tmp_path / "volumes", fields(name.format(victim=victim)))
    assert [entry.name for entry in victim.iterdir()] == ["precious"]
    assert not list((tmp_path / "volumes").iterdir())
