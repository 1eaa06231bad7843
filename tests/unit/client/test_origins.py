# SPDX-License-Identifier: Apache-2.0
"""Which origins may have a token, and what is the same origin."""

import pytest

from podpass.client import Origin
from podpass.client.origins import read_origins
from podpass.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("https://auth-server.example", "https://auth-server.example"),
        ("https://Auth-Server.Example:443/", "https://auth-server.example"),
        ("https://auth-server.example:8443", "https://auth-server.example:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.8.0.1", "http://127.8.0.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("http://auth-server", "http://auth-server"),
        ("http://auth-server.id-namespace.svc:8080", "http://auth-server.id-namespace.svc:8080"),
        ("http://auth-server.id-namespace.svc.cluster.local", "http://auth-server.id-namespace.svc.cluster.local"),
        ("http://auth-server.id-namespace.svc.cluster.local.", "http://auth-server.id-namespace.svc.cluster.local."),
        ("http://db-0.db.shop.svc:5000", "http://db-0.db.shop.svc:5000"),
        ("http://svc.svc-shop.svc", "http://svc.svc-shop.svc"),
    ],
)
def test_these_may_have_a_token(url: str, text: str) -> None:
    assert text in map(str, read_origins([url]))
    assert str(Origin.of_url(text)) == text


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://auth-server.example", id="http to the world"),
        pytest.param("http://10.0.0.1", id="http to an address in the network"),
        pytest.param("http://2130706433", id="a number is no name"),
        pytest.param("http://0x08080808", id="nor is a hexadecimal one"),
        pytest.param("http://auth-server.shop", id="half a cluster name may be a domain"),
        pytest.param("http://localhost.evil.example", id="beginning with localhost"),
        pytest.param("http://x.svc.evil.example:80@evil.example", id="user information"),
        pytest.param("http://x.svc.evil.com", id="svc in another domain"),
        pytest.param("http://x.shop.svc.evil.com", id="a whole name in another domain"),
        pytest.param("http://x.shop.svc.cluster.local.evil.com", id="a long name in another domain"),
        pytest.param("http://x.shop.svc.cluster.localhost", id="almost the cluster's domain"),
        pytest.param("http://x.shop.svc.cluster.example", id="another cluster's domain"),
        pytest.param("http://x.shop.xsvc", id="ending with svc"),
        pytest.param("http://x.svc", id="no namespace"),
        pytest.param("http://svc.cluster.local", id="no name at all"),
        pytest.param("http://orders.cluster.local", id="the cluster's domain without svc"),
        pytest.param("http://.shop.svc", id="an empty name"),
        pytest.param("http://x..svc", id="an empty namespace"),
        pytest.param("http://a.b.c.d.svc", id="a label too many"),
        pytest.param("http://x_y.shop.svc", id="no name of Kubernetes"),
        pytest.param(f"http://{'x' * 64}.shop.svc", id="too long"),
        pytest.param("https://user:pass@auth-server.example", id="user information, https"),
        pytest.param("https://auth-server.example/orders", id="a path"),
        pytest.param("https://auth-server.example?x=1", id="a query"),
        pytest.param("https://auth-server.example#f", id="a fragment"),
        pytest.param("ftp://auth-server.example", id="another scheme"),
        pytest.param("auth-server.example", id="no scheme"),
        pytest.param("https://", id="no host"),
        pytest.param("https://h:99999", id="no port"),
        pytest.param("https://bücher.example", id="not ASCII"),
        pytest.param("", id="nothing"),
    ],
)
def test_these_may_not(url: str) -> None:
    with pytest.raises(ConfigError):
        read_origins([url])


def test_a_cluster_may_have_another_domain_and_then_has_no_other() -> None:
    assert read_origins(["http://orders.shop.svc.k8s.example:81"], "k8s.example")
    with pytest.raises(ConfigError, match="PODPASS_CLUSTER_DOMAIN"):
        read_origins(["http://orders.shop.svc.cluster.local"], "k8s.example")


@pytest.mark.parametrize("domain", ["", ".", "K8s.example", ".k8s.example", "k8s.example.", "k8s example", "*"])
def test_what_is_no_domain_is_refused(domain: str) -> None:
    with pytest.raises(ConfigError, match="is no domain of a cluster"):
        read_origins(["https://h"], domain)


def test_a_client_without_an_origin_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="would send its token nowhere"):
        read_origins([])


def test_one_string_is_one_origin() -> None:
    assert read_origins("https://h") == {Origin("https", "h", 443)}


def test_http_on_its_own_port_stands_for_the_step_up_to_https_as_well() -> None:
    assert read_origins(["http://auth-server"]) == {Origin("http", "auth-server", 80), Origin("https", "auth-server", 443)}
    assert read_origins(["http://auth-server:8080"]) == {Origin("http", "auth-server", 8080)}


def test_libraries_that_take_urls_apart_differently_mean_the_same_origin() -> None:
    assert Origin.of("https", "[::1]", None) == Origin.of("https", "::1", 443) == Origin.of_url("https://[::1]/x?y")
    assert Origin.of("https", "H.Example", 443) == Origin.of_url("https://h.example")
    assert Origin.of("http", "h", None) != Origin.of("https", "h", None)
