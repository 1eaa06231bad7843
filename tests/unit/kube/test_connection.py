# SPDX-License-Identifier: Apache-2.0
"""Real TLS on loopback: the kubeconfig's CA and nothing else is trusted, and its client certificate is shown."""

import base64
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import trustme

from podpass.errors import UnreachableError
from podpass.kube.client import connect
from podpass.kube.issuer import get_version
from podpass.kube.kubeconfig import from_dict
from recording_proxy import RecordingProxy
from unit.kube.api_server import kubeconfig


class Version(BaseHTTPRequestHandler):
    """Answers every GET with a version that names the client's certificate."""

    def do_GET(self) -> None:
        certificate: Any = self.connection.getpeercert()
        name = certificate["subject"][-1][0][1] if certificate else "nobody"
        body = b'{"gitVersion": "v1.36.3 for %s"}' % name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep silent."""


class Plain(Version):
    """The same, without TLS; names the caller's credential."""

    def do_GET(self) -> None:
        body = b'{"gitVersion": "v1.36.3 for %s"}' % self.headers["authorization"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server(authority: trustme.CA) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "kubernetes").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    listener = ThreadingHTTPServer(("127.0.0.1", 0), Version)
    listener.socket = context.wrap_socket(listener.socket, server_side=True)
    thread = threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.server_port}"
    listener.shutdown()
    listener.server_close()
    thread.join()


def data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def test_the_kubeconfigs_ca_is_trusted_and_its_certificate_is_shown(server: str, authority: trustme.CA) -> None:
    issued = authority.issue_cert(common_name="kubernetes-admin")
    user = {
        "client-certificate-data": data(issued.cert_chain_pems[0].bytes()),
        "client-key-data": data(issued.private_key_pem.bytes()),
    }
    trusted = {"certificate-authority-data": data(authority.cert_pem.bytes())}
    with connect(from_dict(kubeconfig(user, server=server, **trusted))) as client:
        assert get_version(client) == "v1.36.3 for kubernetes-admin"


def test_an_api_server_on_loopback_is_asked_past_the_environment_s_proxy_as_kubectl_does(
    server: str, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over plain http, as with `kubectl proxy`, a proxy would read the operator's credential."""
    trusted = {"certificate-authority-data": data(authority.cert_pem.bytes())}
    with RecordingProxy() as proxy, ThreadingHTTPServer(("127.0.0.1", 0), Plain) as plain:
        for name in ("http_proxy", "https_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        with connect(from_dict(kubeconfig({}, server=server, **trusted))) as client:
            assert get_version(client) == "v1.36.3 for nobody"
        threading.Thread(target=plain.handle_request).start()
        with connect(from_dict(kubeconfig({"token": "t0p-secret"}, server=f"http://127.0.0.1:{plain.server_port}"))) as client:
            assert get_version(client) == "v1.36.3 for Bearer t0p-secret"
        assert proxy.shown == []


def test_the_name_that_the_kubeconfig_gives_is_the_one_that_is_checked(server: str, authority: trustme.CA) -> None:
    trusted = {"certificate-authority-data": data(authority.cert_pem.bytes())}
    with connect(from_dict(kubeconfig({}, server=server, **trusted, **{"tls-server-name": "kubernetes"}))) as client:
        assert get_version(client) == "v1.36.3 for nobody"
    with (
        connect(from_dict(kubeconfig({}, server=server, **trusted, **{"tls-server-name": "elsewhere"}))) as client,
        pytest.raises(UnreachableError, match="certificate is not of the kubeconfig's CA"),
    ):
        get_version(client)


def test_another_clusters_certificate_is_told_without_a_second_try(server: str) -> None:
    foreign = {"certificate-authority-data": data(trustme.CA().cert_pem.bytes())}
    client = connect(from_dict(kubeconfig({}, server=server, **foreign)))
    pauses: list[float] = []
    client._sleep = pauses.append
    with client, pytest.raises(UnreachableError) as caught:
        get_version(client)
    assert caught.value.next_step == (
        "Its certificate is not of the kubeconfig's CA: this is another cluster, or the kubeconfig is old. Fetch it anew."
    )
    assert pauses == []


def test_a_cluster_that_does_not_listen_is_told() -> None:
    client = connect(from_dict(kubeconfig({}, server="https://127.0.0.1:1")))
    client._sleep = lambda _: None
    with client, pytest.raises(UnreachableError, match=r"The cluster https://127.0.0.1:1 \(context 'admin@demo'\) gave no answer"):
        get_version(client)
