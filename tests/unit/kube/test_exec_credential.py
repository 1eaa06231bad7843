# SPDX-License-Identifier: Apache-2.0
"""Credential plugins, run for real as small programs."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from podpass.clock import SteppedClock
from podpass.errors import ConfigError, SourceUnavailableError
from podpass.kube.exec_credential import ExecCredential
from podpass.kube.issuer import get_version
from unit.kube.api_server import cluster, kubeconfig, status

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
# Counts its runs in a file, and prints that number as the token.
PLUGIN = """
import json, os, sys
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
runs = int(open(sys.argv[1]).read() or 0) + 1
open(sys.argv[1], "w").write(str(runs))
status = {"token": f"token-{runs}-{os.environ['SUFFIX']}"}
if len(sys.argv) > 2:
    status["expirationTimestamp"] = sys.argv[2]
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


def plugin(tmp_path: Path, source: str = PLUGIN, *arguments: str, version: str = "v1") -> dict[str, Any]:
    (tmp_path / "runs").write_text("")
    return {
        "apiVersion": f"client.authentication.k8s.io/{version}",
        "command": sys.executable,
        "args": ["-c", source, str(tmp_path / "runs"), *arguments],
        "env": [{"name": "SUFFIX", "value": "x"}],
        "interactiveMode": "Never",
    }


def sent(auth: ExecCredential) -> str:
    flow = auth.sync_auth_flow(httpx2.Request("GET", "https://demo.example"))
    header = next(flow).headers["authorization"]
    assert isinstance(header, str)
    return header


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
def test_a_plugins_token_is_used_until_it_ends(version: str, tmp_path: Path) -> None:
    clock = SteppedClock(NOW)
    auth = ExecCredential(plugin(tmp_path, PLUGIN, "2026-11-01T12:15:00Z", version=version), clock)
    assert [sent(auth), sent(auth)] == ["Bearer token-1-x"] * 2
    clock.step(timedelta(minutes=14, seconds=1))
    assert sent(auth) == "Bearer token-2-x"


def test_a_refused_token_is_fetched_anew_once(tmp_path: Path) -> None:
    there = cluster(status(401, "Unauthorized", "Unauthorized"), {"gitVersion": "v1"})
    client = there.client(kubeconfig({"exec": plugin(tmp_path)}))
    assert get_version(client) == "v1"
    assert [request.headers["authorization"] for request in there.asked] == ["Bearer token-1-x", "Bearer token-2-x"]


def test_a_plugin_of_another_version_is_refused_when_connecting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"speaks 'client.authentication.k8s.io/v1alpha1'\. podpass speaks"):
        cluster({}).client(kubeconfig({"exec": plugin(tmp_path, version="v1alpha1")}))


FAILURES = {
    "exit code": (
        "import sys; sys.stderr.write('session expired, Bearer abc.def'); sys.exit(3)",
        "It ended with exit code 3: session expired, Bearer …",
    ),
    "no JSON": ("print('secret-token')", "It printed no ExecCredential with a token."),
    "no token": ('print(\'{"status": {"clientKeyData": "secret-token"}}\')', "It printed no ExecCredential with a token."),
    "no status": ("print('[]')", "It printed no ExecCredential with a token."),
}


@pytest.mark.parametrize(("source", "expected"), FAILURES.values(), ids=FAILURES)
def test_a_plugin_that_fails_is_named_and_its_output_is_not_shown(source: str, expected: str, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError) as caught:
        sent(ExecCredential(plugin(tmp_path, source)))
    assert caught.value.why == expected
    assert sys.executable in caught.value.what
    assert "secret-token" not in f"{caught.value!r} {caught.value.__cause__!r}"


@pytest.mark.parametrize("is_for_others", [False, True])
def test_a_plugin_that_is_not_installed_is_told_with_the_kubeconfigs_own_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_for_others: bool
) -> None:
    if is_for_others:
        (tmp_path / "no-such-plugin").touch(0o600)
    monkeypatch.setenv("PATH", str(tmp_path))
    settings = {"apiVersion": "client.authentication.k8s.io/v1", "command": "no-such-plugin", "installHint": "Install it from example.com."}
    with pytest.raises(SourceUnavailableError) as caught:
        sent(ExecCredential(settings))
    assert str(caught.value) == (
        "The kubeconfig's credential plugin 'no-such-plugin' gave no token. It is not installed. Install it from example.com."
    )


def test_a_plugins_token_is_in_no_repr(tmp_path: Path) -> None:
    auth = ExecCredential(plugin(tmp_path))
    sent(auth)
    assert "token-1-x" not in repr(auth) + json.dumps({key: repr(value) for key, value in vars(auth).items()})
