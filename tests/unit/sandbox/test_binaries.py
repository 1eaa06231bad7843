# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from podpass.errors import ConfigError
from podpass.sandbox.binaries import VERSION, Binaries, cache_directory


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"PODPASS_CONTROL_PLANE": "/opt/k8s", "XDG_CACHE_HOME": "/cache", "HOME": "/h"}, "/opt/k8s"),
        ({"XDG_CACHE_HOME": "/cache", "HOME": "/h"}, f"/cache/podpass/control-plane/{VERSION}"),
        ({"HOME": "/h"}, f"/h/.cache/podpass/control-plane/{VERSION}"),
    ],
    ids=["named", "xdg", "home"],
)
def test_cache_is_outside_the_checkout(environ: dict[str, str], expected: str) -> None:
    assert cache_directory(environ) == Path(expected)


def test_missing_programs_are_all_named_with_the_command_that_obtains_them(tmp_path: Path) -> None:
    (tmp_path / "etcd").write_text("#!/bin/sh\n")
    (tmp_path / "etcd").chmod(0o755)
    (tmp_path / "kube-apiserver").write_text("not executable")
    with pytest.raises(ConfigError) as caught:
        Binaries.find(tmp_path)
    assert str(caught.value) == (
        f"There is no control plane in {tmp_path}. Not found there, or not executable: kube-apiserver, kube-controller-manager. "
        "Run `make cluster` once, or name a directory that has them: --control-plane DIR, or PODPASS_CONTROL_PLANE for the tests."
    )


def test_directory_with_all_programs_is_taken_without_kubeadm(tmp_path: Path) -> None:
    for name in ("kube-apiserver", "kube-controller-manager", "etcd"):
        (tmp_path / name).touch(mode=0o755)
    assert Binaries.find(tmp_path) == Binaries(tmp_path / "kube-apiserver", tmp_path / "kube-controller-manager", tmp_path / "etcd")
