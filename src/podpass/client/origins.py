# SPDX-License-Identifier: Apache-2.0
"""Where a token may go: to origins that somebody wrote down, and nowhere else."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

from podpass.errors import ConfigError

CLUSTER_DOMAIN: Final = "cluster.local"
"""The domain that clusters have where nobody chose another."""

_PORTS: Final = {"https": 443, "http": 80}
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_IN_NAMESPACE: Final = re.compile(rf"(?:{_LABEL.pattern}\.){{1,2}}{_LABEL.pattern}")
_DOMAIN: Final = re.compile(rf"(?:{_LABEL.pattern}\.)*{_LABEL.pattern}")


class Origin(NamedTuple):
    """Scheme, host and port of a URL; equal where a browser would call them the same origin (RFC 6454)."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, scheme: str, host: str, port: int | None) -> Self:
        """Take an origin from a library that has taken a URL apart; a port of None is the scheme's own."""
        return cls(scheme, host.strip("[]").lower(), _PORTS.get(scheme, 0) if port is None else port)

    @classmethod
    def of_url(cls, url: str) -> Self:
        """Return the origin of a URL.

        Raises:
            ConfigError: It has none.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
        if not host or not host.isascii() or parts.scheme not in _PORTS:
            raise ConfigError(
                f"{url!r} is not the URL of a service.", "", "Write it as https://HOST[:PORT].", code="config.service-endpoint"
            )
        return cls.of(parts.scheme, host, port)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS.get(self.scheme) else f":{self.port}")


def read_origins(urls: Iterable[str], cluster_domain: str = CLUSTER_DOMAIN) -> frozenset[Origin]:
    """Read the origins of services.

    An http origin on port 80 stands for https on port 443 of the same host, too: HTTP libraries follow that redirect with the token.

    Args:
        urls: The origins.
        cluster_domain: What the long names of Services end with.

    Raises:
        ConfigError: None at all, something that is no origin, or http to a host that is neither this machine nor in the cluster; or the
            domain is none.
    """
    if not _DOMAIN.fullmatch(cluster_domain):
        raise ConfigError(
            f"{cluster_domain!r} is no domain of a cluster.",
            "The long names of its Services end with it: NAME.NAMESPACE.svc.DOMAIN.",
            f"Write it in lower case and without dots around it, such as {CLUSTER_DOMAIN}.",
            code="config.cluster-domain",
        )
    # A string is an iterable of characters; whoever forgets the brackets means one origin.
    origins = {_read(url, cluster_domain) for url in ([urls] if isinstance(urls, str) else urls)}
    if not origins:
        raise ConfigError(
            "A client without an origin would send its token nowhere.", "", "Name the services it calls.", code="config.token-origin"
        )
    return frozenset(origins | {Origin("https", origin.host, 443) for origin in origins if (origin.scheme, origin.port) == ("http", 80)})


def _read(url: str, cluster_domain: str) -> Origin:
    origin = Origin.of_url(url)
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment or parts.username is not None:
        raise ConfigError(
            f"{url!r} is more than an origin.",
            "A token is for a whole service: what one path of it may see, all of it may.",
            f"Write {origin}.",
            code="config.token-origin",
        )
    if not (origin.scheme == "https" or _is_loopback(origin.host) or _is_in_cluster(origin.host, cluster_domain)):
        raise ConfigError(
            f"No token is sent to {origin}.",
            "It is not https, so everybody on the way could take the token.",
            "Use https; http is for loopback and for names in the cluster: NAME, NAME.NAMESPACE.svc, "
            f"NAME.NAMESPACE.svc.{cluster_domain}. Where the cluster has another domain, set PODPASS_CLUSTER_DOMAIN.",
            code="config.token-origin",
        )
    return origin


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _is_in_cluster(host: str, cluster_domain: str) -> bool:
    """Tell whether a host is a name of a Kubernetes Service, or of a pod behind one: nobody outside can be called so.

    A name without a dot begins with a letter; `0x08080808` is an address to resolvers.

    Source:
        Kubernetes, DNS for Services and Pods: NAME.NAMESPACE.svc.DOMAIN, and POD.NAME.NAMESPACE.svc.DOMAIN where the Service is headless.
    """
    inside = host.removesuffix(".").removesuffix(f".{cluster_domain}")
    if inside.endswith(".svc"):
        return _IN_NAMESPACE.fullmatch(inside.removesuffix(".svc")) is not None
    return host[0].isalpha() and _LABEL.fullmatch(host) is not None
