# SPDX-License-Identifier: Apache-2.0
"""talosctl is asked with words, never through a shell; a machine's secrets stay where they are."""

from pathlib import Path

import pytest

from podpass.errors import ConfigError, UnexpectedAnswerError, UnreachableError
from podpass.federate.clusters.evidence import Node
from podpass.federate.clusters.flags import ServiceAccountFlags
from podpass.federate.clusters.talosctl import Talosctl, flags_of

NODE = Node("cp-1", "Talos (v1.13.9)", addresses=("10.0.0.1",))
OLD, NEW = "https://10.0.0.1:6443", "https://storage.googleapis.com/demo-oidc"
LEGACY = f"cluster: {{controlPlane: {{endpoint: {OLD}}}, apiServer: {{extraArgs: {{profiling: 'false'}}}}}}\n"


def program(folder: Path, body: str) -> Talosctl:
    """Write a program that stands for talosctl and keeps what it was told in `told`."""
    path = folder / "talosctl"
    path.write_text(f'#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done >> {folder}/told\n{body}\n')
    path.chmod(0o700)
    return Talosctl(Path("/etc/talosconfig"), program=str(path))


ACCOUNTS = f"""machine: {{}}
---
apiVersion: v1alpha1
kind: KubeServiceAccountConfig
issuer: {{issuerURL: {OLD}}}
accepted: {{issuers: [{NEW}], audiences: [api]}}
"""
DOCUMENTS = f"""apiVersion: v1alpha1
kind: KubeAPIServerConfig
extraArgs: {{service-account-issuer: {NEW}}}
---
apiVersion: v1alpha1
kind: KubeServiceAccountConfig
issuer: {{issuerURL: {OLD}}}
---
kind: HostnameConfig
"""


@pytest.mark.parametrize(
    ("config", "issuers", "audiences"),
    [
        (LEGACY, (OLD,), (OLD,)),
        (LEGACY.replace("profiling: 'false'", f"service-account-issuer: [{NEW}, {OLD}]"), (NEW, OLD), (OLD,)),
        (ACCOUNTS, (OLD, NEW), ("api",)),
        (DOCUMENTS, (NEW,), (NEW,)),
    ],
)
def test_a_configuration_tells_what_talos_makes_of_it(config: str, issuers: tuple[str, ...], audiences: tuple[str, ...]) -> None:
    flags = flags_of(config)
    assert (flags.issuers, flags.accepted_audiences) == (issuers, audiences)


@pytest.mark.parametrize("answer", ["", "a: [", "just words"])
def test_what_is_no_configuration_is_called_so(answer: str) -> None:
    with pytest.raises(UnexpectedAnswerError):
        flags_of(answer)


def test_a_patch_is_tried_dry_first_and_never_reboots(tmp_path: Path) -> None:
    patch = f'for word; do case "$word" in @*) cat "${{word#@}}" >> {tmp_path}/patch;; esac; done'
    body = f'case "$*" in *get*) printf "%s" "{LEGACY.strip()}";; *) {patch};; esac'
    talosctl = program(tmp_path, body)
    assert talosctl.flags(NODE).issuers == (OLD,)
    talosctl.change(NODE, ServiceAccountFlags((NEW, OLD), (OLD, NEW)))
    told = (tmp_path / "told").read_text()
    assert told.count("--nodes\n10.0.0.1\n") == 4
    assert told.index("--dry-run") < told.rindex("patch\nmachineconfig\n--mode\nno-reboot\n")
    assert told.startswith("--talosconfig\n/etc/talosconfig\n")
    assert f"- {NEW}\n" in (tmp_path / "patch").read_text()


def test_a_refusal_is_told_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError) as refusal:
        program(tmp_path, "echo 'rpc error: permission denied' >&2; exit 1").flags(NODE)
    assert refusal.value.what == "`talosctl get machineconfig` on cp-1 failed."
    assert refusal.value.why == "rpc error: permission denied"


@pytest.mark.parametrize("is_for_others", [False, True])
def test_a_talosctl_that_is_not_there_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_for_others: bool) -> None:
    if is_for_others:
        (tmp_path / "no-such-talosctl").touch(0o600)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="There is no talosctl"):
        Talosctl(program="no-such-talosctl").flags(NODE)
