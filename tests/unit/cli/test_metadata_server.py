# SPDX-License-Identifier: Apache-2.0
"""`podpass metadata-server`: what it refuses to start with, and what its probe says."""

import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from podpass.cli import metadata_server
from podpass.cli.metadata_server import command
from podpass.errors import ConfigError
from podpass.exchange.credential_config import credential_config
from podpass.metadata.account import Settings
from podpass.names import GoogleServiceAccount, ProviderName

PROVIDER = "projects/123/locations/global/workloadIdentityPools/demo-pool/providers/demo-oidc"
EMAIL = "shop-sa@demo-project.iam.gserviceaccount.com"
ANYWHERE = "--listen=127.0.0.1:0"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """The settings of the servers that would have been started."""
    found: list[Settings] = []

    async def serve(sidecar: Settings, *_: object) -> None:
        found.append(sidecar)

    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    monkeypatch.setattr("podpass.metadata.serving.serve", serve)
    monkeypatch.setattr(metadata_server, "_sidecar", lambda settings: settings)
    return found


def run(*arguments: str) -> None:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_flags_become_settings(started: list[Settings]) -> None:
    run(
        ANYWHERE,
        f"--provider=//iam.googleapis.com/{PROVIDER}",
        "--token-file=/t",
        f"--google-service-account={EMAIL}",
        "--project-id=demo-project",
        "--cluster-name=demo",
        "--cluster-uid=u",
        "--annotations",
        "--allow-google-service-account=*@demo-project.iam.gserviceaccount.com",
        f"--allow-google-service-account={EMAIL}",
    )
    (settings,) = started
    assert (str(settings.credential.provider), settings.credential.token_path) == (PROVIDER, "/t")
    assert settings.credential.service_account == GoogleServiceAccount(EMAIL)
    assert (settings.project_id, settings.zone, settings.reads_annotations) == ("demo-project", None, True)
    assert settings.attributes == (("cluster-name", "demo"), ("cluster-uid", "u"))
    assert settings.allowed_accounts == ("*@demo-project.iam.gserviceaccount.com", EMAIL)


def test_a_credential_configuration_says_the_same_and_flags_go_before_it(started: list[Settings], tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(credential_config(ProviderName.parse(PROVIDER), token_path="/from/file", service_account=GoogleServiceAccount(EMAIL)))
    run(ANYWHERE, f"--credential-config={file}")
    run(ANYWHERE, f"--credential-config={file}", "--token-file=/t", f"--google-service-account=other-{EMAIL}")
    first, second = (settings.credential for settings in started)
    assert (first.token_path, str(first.service_account)) == ("/from/file", EMAIL)
    assert (second.token_path, str(second.service_account)) == ("/t", f"other-{EMAIL}")


@pytest.mark.parametrize(
    "arguments", [[], [f"--provider={PROVIDER}"], ["--token-file=/t"], [f"--provider={PROVIDER}", "--credential-config={config}"]]
)
def test_a_provider_and_a_token_file_are_wanted_once(started: list[Settings], arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(credential_config(ProviderName.parse(PROVIDER), token_path="/from/file"))
    result = CliRunner().invoke(command, [ANYWHERE, *(argument.format(config=file) for argument in arguments)])
    assert result.exit_code == 2
    assert "--credential-config" in result.output
    assert started == []


def test_it_does_not_start_in_a_pod_with_host_network(started: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PODPASS_HOST_IP", "PODPASS_POD_IP"):
        monkeypatch.setenv(name, "10.0.0.7")
    with pytest.raises(ConfigError, match="hostNetwork"):
        run(ANYWHERE, f"--provider={PROVIDER}", "--token-file=/t")
    assert started == []


def test_it_does_not_listen_beyond_loopback(started: list[Settings]) -> None:
    with pytest.raises(ConfigError, match="does not listen on"):
        run("--listen=0.0.0.0:0", f"--provider={PROVIDER}", "--token-file=/t")
    assert started == []


class Probe(http.server.BaseHTTPRequestHandler):
    """Answers `/readyz` as the metadata server does."""

    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"ready\n" if self.status == 200 else b"exchange.unavailable\n")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def listening() -> Iterator[str]:
    with http.server.HTTPServer(("127.0.0.1", 0), Probe) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "code", "words"), [(200, 0, "ready"), (503, 1, "exchange.unavailable")])
def test_the_probe_ends_as_the_server_is(listening: str, monkeypatch: pytest.MonkeyPatch, status: int, code: int, words: str) -> None:
    monkeypatch.setattr(Probe, "status", status)
    result = CliRunner().invoke(command, ["--check", f"--listen={listening}"])
    assert (result.exit_code, result.output) == (code, f"{words}\n")


def test_the_probe_of_a_server_that_is_not_there_fails() -> None:
    result = CliRunner().invoke(command, ["--check", "--listen=127.0.0.1:9"])
    assert result.exit_code == 1
    assert "127.0.0.1:9 does not answer: Connection refused" in result.output


def test_the_probe_of_somebody_else_fails() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def greet() -> None:
            with stranger.accept()[0] as caller:
                caller.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        result = CliRunner().invoke(command, ["--check", f"--listen=127.0.0.1:{stranger.getsockname()[1]}"])
        thread.join()
    assert result.exit_code == 1
    assert "does not answer: BadStatusLine" in result.output


def test_the_probe_wants_an_address() -> None:
    with pytest.raises(ConfigError, match="is no address to listen on"):
        run("--check", "--listen=localhost")


def test_a_credential_configuration_that_is_not_there_is_told(started: list[Settings]) -> None:
    with pytest.raises(ConfigError, match=r"/none\.json cannot be read\. No such file or directory\. Mount the ConfigMap"):
        run(ANYWHERE, "--credential-config=/none.json")
    assert started == []
