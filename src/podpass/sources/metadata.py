# SPDX-License-Identifier: Apache-2.0
"""The metadata server as a source: an ID token of the Google service account that the workload acts as.

The same question is answered by Compute Engine, GKE, Cloud Run and podpass's own metadata server. It is asked without a proxy, since a
metadata server answers about whoever asks; redirects are not followed; who answers without `Metadata-Flavor: Google` is no metadata server.
"""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

from podpass.errors import ConfigError, SourceUnavailableError, UnavailableError, UnexpectedAnswerError, UnreachableError
from podpass.google.backoff import Attempts, Pacing, retry_after_s
from podpass.names import Secret
from podpass.names.secret import redact
from podpass.net.deadline import Deadline

if TYPE_CHECKING:  # costs more to import than all of this room, and serves it once an hour
    import httpx2

DEFAULT_HOST: Final = "metadata.google.internal"
# The second name is the older one; google-auth reads both. [O]
HOST_VARIABLES: Final = ("GCE_METADATA_HOST", "GCE_METADATA_ROOT")
_PATH: Final = "/computeMetadata/v1/instance/service-accounts/default/identity"
# A name or an address, and a port: nothing that could turn into another URL.
_HOST: Final = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# What google-auth asks again about, five times within about 15 s. [O]
_PASSING: Final = frozenset({408, 429, 500, 502, 503, 504})
# A server of a new pod takes a moment to be ready. [M] Whoever waits here is a request of a workload, so the patience is short.
_PACING: Final = Pacing(first=timedelta(milliseconds=200), longest=timedelta(seconds=2), within=timedelta(seconds=8))
# What the last try has at least.
_LEAST_S: Final = 1.0
_LIMIT_BYTES: Final = 64 * 1024
_WORDS_LIMIT_CHARS: Final = 600
_CODE: Final = "credential.metadata"


@dataclass(frozen=True, slots=True)
class MetadataSource:
    """ID tokens of the account that a workload acts as.

    Attributes:
        audience: Whom the tokens are for: the URL of a service.
        host: The metadata server, with its port where that is not 80.
        pacing: How often and how long it is asked.
    """

    audience: str
    host: str = DEFAULT_HOST
    pacing: Pacing = field(default=_PACING, repr=False)

    def __post_init__(self) -> None:
        if _HOST.fullmatch(self.host) is None:
            raise _no_host(self.host)

    @classmethod
    def from_env(cls, audience: str, environ: Mapping[str, str] | None = None) -> Self:
        """Find the metadata server by GCE_METADATA_HOST, as Google's libraries do.

        Raises:
            ConfigError: That is no host.
        """
        environ = os.environ if environ is None else environ
        return cls(audience, next((environ[name] for name in HOST_VARIABLES if environ.get(name)), DEFAULT_HOST))

    def read(self) -> Secret[str]:
        """Ask for a token.

        Raises:
            ConfigError: Its name is none.
            SourceUnavailableError: The metadata server refused: it says why.
            UnreachableError: There is none.
            UnavailableError: It cannot answer now.
            UnexpectedAnswerError: What answered is no metadata server.
        """
        import httpx2  # noqa: PLC0415 - see above

        url = f"http://{self.host}{_PATH}?audience={quote(self.audience, safe='')}&format=full"
        attempts = self.pacing.start()
        # No TLS is spoken here, so no authority is trusted; reading the machine's would cost more than the question.
        nobody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        headers = {"metadata-flavor": "Google", "accept-encoding": "identity"}
        deadline = Deadline(max(self.pacing.within.total_seconds(), _LEAST_S))
        with deadline, httpx2.Client(verify=nobody, trust_env=False, follow_redirects=False, headers=headers) as http:
            while True:
                try:
                    return self._once(http, url, attempts, deadline)
                except (UnreachableError, UnavailableError) as error:
                    if not attempts.pause(at_least=error.retry_after_s if isinstance(error, UnavailableError) else 0.0):
                        raise

    def __str__(self) -> str:
        return f"metadata server {self.host}"

    def _once(self, http: "httpx2.Client", url: str, attempts: Attempts, deadline: Deadline) -> Secret[str]:
        import httpx2  # noqa: PLC0415 - see above

        try:
            timeout = max(attempts.remaining, _LEAST_S)
            with http.stream("GET", url, timeout=timeout, extensions={"trace": deadline.trace}) as response:
                self._check(response)
                text = _text(response, attempts)
            # A body that ends with its connection looks whole when the connection is cut.
            if deadline.is_over:
                raise _not_in_time()
        except httpx2.RequestError as error:
            raise self._unreachable(error) from error
        except (httpx2.InvalidURL, UnicodeError):  # no address after all, or labels that no name has: 999.1.1.1, a..b
            raise _no_host(self.host) from None
        if response.status_code in _PASSING:
            raise self._unavailable(response, text)
        if response.status_code != httpx2.codes.OK:
            raise self._refused(response.status_code, text)
        if not text:
            raise UnexpectedAnswerError(f"The {self} gave an empty ID token.", "", "Look for a proxy that answers in its place.")
        return Secret(text, "ID token")

    def _check(self, response: "httpx2.Response") -> None:
        if response.is_redirect:
            fault = f"It answered with a redirect ({response.status_code}), which was not followed."
        elif response.headers.get("metadata-flavor") != "Google":
            fault = f"Its answer ({response.status_code}) has no `Metadata-Flavor: Google`."
        else:
            return
        next_step = f"Look for what answers at this address, and check {HOST_VARIABLES[0]}."
        raise UnexpectedAnswerError(f"{self.host} is no metadata server.", fault, next_step)

    def _unreachable(self, error: "httpx2.RequestError") -> UnreachableError:
        words = redact(str(error)).rstrip(".") or type(error).__name__
        cure = (
            "On GKE, turn on Workload Identity. In a pod elsewhere, add podpass's metadata server as a sidecar and set "
            f"{HOST_VARIABLES[0]}: docs/how-to/serve-metadata.md."
        )
        return UnreachableError(f"There is no ID token: no metadata server answered at {self.host}.", f"{words}.", cure)

    def _unavailable(self, response: "httpx2.Response", text: str) -> UnavailableError:
        after_s = retry_after_s(response.headers.get("retry-after", ""))
        what = f"The {self} can give no ID token now ({response.status_code})."
        return UnavailableError(what, _words(text), "Try again in a minute; its own log says more.", retry_after_s=after_s or 1.0)

    def _refused(self, status: int, text: str) -> SourceUnavailableError:
        what = f"There is no ID token: the {self} refused the one for {self.audience!r} ({status})."
        known, cure = _CURES.get(status, ("", "Read the metadata server's own log."))
        return SourceUnavailableError(what, _words(text), "" if known and known in text else cure, code=_CODE)


_GRANT: Final = "roles/iam.workloadIdentityUser"
_ANNOTATE: Final = "kubectl annotate"
# By status: by what words it is known that the server has said the cure itself, as podpass's own does; and the cure.
_CURES: Final = {
    403: (_GRANT, f"Let the workload act as its Google service account: grant its principal {_GRANT} on it. A new grant takes minutes."),
    404: (_ANNOTATE, f"Name an account that exists: {_ANNOTATE} serviceaccount NAME iam.gke.io/gcp-service-account=EMAIL."),
}


def _no_host(host: str) -> ConfigError:
    what = f"The metadata server is named {host[:80]!r}."
    return ConfigError(what, "It is HOST or HOST:PORT.", f"Mend {HOST_VARIABLES[0]}.", code="config.metadata-host")


def _text(response: "httpx2.Response", attempts: Attempts) -> str:
    """Read the body; it ends where the limit or the deadline is reached."""
    content = bytearray()
    for chunk in response.iter_raw():
        content += chunk
        if len(content) > _LIMIT_BYTES:
            raise UnexpectedAnswerError("The answer of the metadata server is too large.", f"podpass reads {_LIMIT_BYTES} bytes at most.")
        if not attempts.remaining:
            raise _not_in_time()
    return content.decode("utf-8", "replace").strip()


def _not_in_time() -> UnreachableError:
    return UnreachableError("The metadata server gave no whole answer in time.", "", "Check what answers in its place.")


def _words(text: str) -> str:
    """Return the server's own sentence, on one line."""
    words = " ".join(redact(text).split())[:_WORDS_LIMIT_CHARS].rstrip(".")
    return f"It says: {words}." if words else ""
