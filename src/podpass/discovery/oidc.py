# SPDX-License-Identifier: Apache-2.0
"""An issuer on the web: its discovery document names it exactly, and leads to its keys on its own ground.

Source:
    OpenID Connect Discovery 1.0, 4.3: the `issuer` in the document must be the one that was asked.
"""

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from podpass.discovery import web
from podpass.discovery.origin import Published
from podpass.errors import ConfigError, NeighbourError, UnexpectedAnswerError
from podpass.names import Issuer
from podpass.names.quoting import quoted
from podpass.net.deadline import Deadline
from podpass.net.direct import LOOPBACK
from podpass.verify import KeySet
from podpass.verify.algorithms import DEFAULT_ALGORITHMS

if TYPE_CHECKING:
    import httpx2

LOGGER: Final = logging.getLogger("podpass.discovery")

# Issuers whose keys are known to lie on another host. Google: its own discovery document says so.
_KEYS_ELSEWHERE: Final = {"https://accounts.google.com": "https://www.googleapis.com/oauth2/v3/certs"}
# Hosts where each first segment of a path is another owner's: there, the issuer's own path is its ground, not the host.
_SHARED_HOSTS: Final = ("storage.googleapis.com", "raw.githubusercontent.com")
_KEY_TYPES: Final = "application/jwk-set+json, application/json"
_IN_CLUSTER: Final = "kubernetes.default.svc."
# An address of keys hardly ever changes; a key does, and is then fetched alone.
_DOCUMENT_LIFE: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class _Located:
    uri: str
    found_at: datetime


class OidcOrigin:
    """Finds the keys of an issuer through its discovery document.

    Args:
        issuer: As tokens carry it.
        ca_file: Authorities of the issuer's certificate, in place of the machine's.
        deadline_s: For document and keys together.
        insecure_loopback_http: Allow http, for an issuer on this very machine.
        algorithms: For which of them keys are wanted.

    Raises:
        ConfigError: The issuer is not https, and is not on loopback or not allowed to be.
    """

    def __init__(
        self,
        issuer: Issuer,
        *,
        ca_file: Path | None = None,
        deadline_s: float = web.DEADLINE_S,
        insecure_loopback_http: bool = False,
        algorithms: Collection[str] = DEFAULT_ALGORITHMS,
    ) -> None:
        self._issuer = issuer
        self._algorithms = algorithms
        self._ca_file = ca_file
        self._deadline_s = deadline_s
        self._located: _Located | None = None
        _check_scheme(issuer, may_be_http=insecure_loopback_http)
        web.import_now()

    def fetch(self, now: datetime) -> Published:
        """Ask for the keys; see `KeyOrigin`."""
        try:
            return self._fetch(now)
        except NeighbourError as error:
            if cure := _by_the_api_server(self._issuer, error):
                raise type(error)(error.what, error.why, cure, code=error.full_code) from error
            raise

    def _fetch(self, now: datetime) -> Published:
        with web.new_http(self._ca_file) as http, Deadline(self._deadline_s) as deadline:
            located = self._located
            if located is None or not timedelta() <= now - located.found_at < _DOCUMENT_LIFE:
                located = _Located(self._locate(http, deadline), now)
            self._located = None  # until the keys have been found there
            answer = web.ask(http, web.Question(located.uri, accept=_KEY_TYPES), deadline)
            keys = KeySet.parse(web.require_success(answer, located.uri), algorithms=self._algorithms)
            self._located = located
        return Published(keys, answer.max_age)

    def __str__(self) -> str:
        return self._issuer.url

    def _locate(self, http: "httpx2.Client", deadline: Deadline) -> str:
        url = self._issuer.discovery_url
        document = web.parse_object(web.ask(http, web.Question(url), deadline), url)
        if document.get("issuer") != self._issuer.url:
            raise _unexpected(
                f"The discovery document at {url} is of another issuer.",
                f"It names {_shown(document.get('issuer'))}; the configured one is {self._issuer.url!r}, byte for byte.",
                "Write the issuer as its tokens carry it in `iss`.",
                "neighbour.wrong-issuer",
            )
        uri = document.get("jwks_uri")
        if not isinstance(uri, str) or not _is_own_ground(uri, self._issuer.url):
            raise _unexpected(
                f"The discovery document of {self._issuer} leads to keys that are not its own.",
                f"Its jwks_uri is {_shown(uri)}; podpass reads keys below the issuer's own host, or path where many share the host.",
                "Set --service-account-jwks-uri to an address there, or give the guard the keys in a file.",
                "neighbour.jwks-uri",
            )
        return uri


def _by_the_api_server(issuer: Issuer, error: NeighbourError) -> str:
    """Return the cure where the issuer is a cluster's own address: what every cluster made by kubeadm signs as, and Talos by default."""
    if f"{issuer.host}.".startswith(_IN_CLUSTER):
        return f"Write keys: apiserver for this issuer, or its keys in a file: {issuer.host} answers in its own cluster alone."
    if "CERTIFICATE_VERIFY_FAILED" in error.why:
        return f"{error.next_step} If it is the API server of the service's own cluster, write keys: apiserver."
    return ""


def _check_scheme(issuer: Issuer, *, may_be_http: bool) -> None:
    parts = urlsplit(issuer.url)
    if parts.scheme == "https":
        return
    if parts.scheme == "http" and may_be_http and parts.hostname in LOOPBACK:
        LOGGER.warning("The keys of issuer %s are fetched without TLS (insecure_loopback_http)", issuer)
        return
    raise ConfigError(
        f"The keys of issuer {issuer} are not fetched.",
        "It is not https, so anybody on the way could choose them.",
        "Use an https issuer; for one on this very machine, insecure_loopback_http=True.",
        code="config.issuer",
    )


def _is_own_ground(uri: str, issuer: str) -> bool:
    """Tell whether an address of keys belongs to the issuer."""
    if uri == _KEYS_ELSEWHERE.get(issuer):
        return True
    try:
        there, home = urlsplit(uri), urlsplit(issuer)
        is_same_origin = (there.scheme, there.hostname, there.port) == (home.scheme, home.hostname, home.port)
    except ValueError:
        return False
    if not is_same_origin or there.username is not None or there.fragment or _is_winding(there.path):
        return False
    shared = home.hostname in _SHARED_HOSTS or _is_s3(home.hostname or "")
    return not shared or there.path.startswith(f"{home.path.rstrip('/')}/")


def _is_winding(path: str) -> bool:
    """Tell whether a path could lead elsewhere than it looks."""
    return "\\" in path or "%" in path or any(segment in {".", ".."} for segment in path.split("/")) or any(c <= " " for c in path)


def _is_s3(host: str) -> bool:
    """Tell whether buckets are first segments on this host: `s3.REGION.amazonaws.com`, not `BUCKET.s3.…`."""
    return host.startswith(("s3.", "s3-")) and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _shown(value: object) -> str:
    return quoted(value) if isinstance(value, str) else "nothing"


def _unexpected(what: str, why: str, next_step: str, code: str) -> NeighbourError:
    return UnexpectedAnswerError(what, why, next_step, code=code)
