# SPDX-License-Identifier: Apache-2.0
"""One client for one cluster: sends a request, repeats readings, turns refusals into errors.

What may be made twice (readings, questions asked by POST, deletions by uid) is tried four times within 2 s on broken connections, 429 and
5xx: enough for an API server behind a load balancer that loses one of its members. Where there is no answer at all, that ends after 30 s.
After a 429 any request is repeated, since nothing was done yet, and as late as the server asks for, within reason. Other writings are not
repeated here: callers read again and decide.
"""

import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

import httpx2
from lightkube.config.client_adapter import user_auth, verify_cluster
from lightkube.config.models import User
from lightkube.core.exceptions import ConfigError as LightkubeError

import podpass
from podpass.errors import ConfigError, UnexpectedAnswerError, UnreachableError
from podpass.kube.exec_credential import ExecCredential
from podpass.kube.fault import FaultKind, KubeFault, KubeRefusedError
from podpass.kube.kubeconfig import ClusterAccess
from podpass.names.secret import redact
from podpass.net.direct import PAST_PROXIES
from podpass.net.silence import LIMIT_S, Silence

log = logging.getLogger(__name__)

Json = dict[str, Any]
"""An object of Kubernetes' API, as answered. Who reads a member checks it."""

_TIMEOUT_S = 15.0
_CONNECT_TIMEOUT_S = 5.0
_PAUSES_S: Final = (0.2, 0.6, 1.2)
_LONGEST_PAUSE_S: Final = 10.0
_SERVER_ERROR = 500
# A page of 500 pods has some 10 MB, one of config maps 500 times what is in them: `lists` asks for less when a page is too much.
LIMIT_ANSWER_BYTES: Final = 64 * 1024 * 1024
# What API servers compress with. Others pack a gigabyte into what is read at once.
_ENCODINGS: Final = frozenset({"", "identity", "gzip"})


@dataclass(frozen=True, slots=True)
class Request:
    """One call.

    Attributes:
        verb: GET, POST, PUT, PATCH or DELETE.
        path: From the root, as Kubernetes has it: namespaces and names need no encoding.
        doing: What it does, after "to", for errors: `read the config map default/x`.
        query: Query parameters.
        body: JSON to send; None sends nothing.
        is_question: A POST that changes nothing.
        is_by_uid: A DELETE of one object and no later one of its name: made again it finds nothing to delete.
    """

    verb: str
    path: str
    doing: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json | None = None
    is_question: bool = False
    is_by_uid: bool = False

    @property
    def may_repeat(self) -> bool:
        """Whether making it twice is as good as once."""
        return self.verb == "GET" or self.is_question or self.is_by_uid


class AnswerTooLargeError(UnexpectedAnswerError):
    """The cluster sent more than podpass reads."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: httpx2.Headers
    content: bytes
    is_success: bool
    is_redirect: bool


class KubeClient:
    """Asks one cluster's API server. Safe for threads; close it, or use it as a context manager.

    Attributes:
        access: Which cluster; holds nothing secret in its repr.
        silence: How long it has given no answer.
    """

    def __init__(self, access: ClusterAccess, http: httpx2.Client, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self.access = access
        self.silence = Silence(self._silent)
        self._http = http
        self._sleep = sleep
        self.silence.listen_to(http)

    def __repr__(self) -> str:
        return f"<KubeClient {self.access.context} {self.access.server}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def call(self, request: Request) -> Json:
        """Send a request and return the object that it is answered with.

        Raises:
            KubeRefusedError: 4xx, with the Status.
            UnreachableError: No answer, or 5xx.
            UnexpectedAnswerError: No JSON object, a redirect, or more than 64 MiB.
        """
        content = self.send(request)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise UnexpectedAnswerError(
                f"The cluster's answer to the request to {request.doing} is not a JSON object.",
                f"{self.access.server} sent {len(content)} bytes of something else.",
                f"Check that the context {self.access.context!r} names a Kubernetes API server.",
            )
        return answer

    def find(self, request: Request) -> Json | None:
        """Do as `call`, but return None where the thing is not there."""
        try:
            return self.call(request)
        except KubeRefusedError as error:
            if error.kind is FaultKind.NOT_FOUND:
                return None
            raise

    def send(self, request: Request) -> bytes:
        """Do as `call`, but return the answer's bytes, whatever they are."""
        pauses = iter(_PAUSES_S)
        heard_at = time.monotonic()
        while True:
            try:
                answer = self._once(request, LIMIT_S - (time.monotonic() - heard_at))
            except (httpx2.RequestError, LightkubeError) as error:
                is_over = time.monotonic() - heard_at + 1 > LIMIT_S
                if is_over or not request.may_repeat or _is_lasting(error) or (pause := next(pauses, None)) is None:
                    raise self._unreachable(request, error) from error
            else:
                heard_at = time.monotonic()
                if answer.is_success:
                    return answer.content
                if not _is_passing(request, answer.status) or (pause := next(pauses, None)) is None:
                    raise self._refused(request, answer)
                pause = max(pause, _asked_pause_s(answer))
            self._sleep(pause)

    def _once(self, request: Request, within_s: float) -> _Answer:
        name = self.access.tls_server_name
        timeout_s = max(1.0, min(_TIMEOUT_S, within_s))
        with self._http.stream(
            request.verb,
            request.path,
            params=request.query or None,
            # Not JSON alone: /openid/v1/jwks is to be had as application/jwk-set+json only, and else answered with 406.
            headers={"accept": "application/json, */*;q=0.8", "accept-encoding": "gzip"},
            json=request.body,
            timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
            extensions={"sni_hostname": name} if name else None,
        ) as response:
            content = self._content(request, response)
        log.debug("%s %s -> %d", request.verb, request.path, response.status_code)
        return _Answer(response.status_code, response.headers, content, response.is_success, response.is_redirect)

    def _content(self, request: Request, response: httpx2.Response) -> bytes:
        """Read a body up to the limit."""
        if response.headers.get("content-encoding", "").lower() not in _ENCODINGS:
            raise UnexpectedAnswerError(f"{self.access.server} compresses its answers in a way that podpass did not ask for.")
        parts: list[bytes] = []
        count = 0
        for part in response.iter_bytes():
            parts.append(part)
            count += len(part)
            if count > LIMIT_ANSWER_BYTES:
                raise AnswerTooLargeError(
                    f"The cluster's answer to the request to {request.doing} is too large.",
                    f"podpass reads {LIMIT_ANSWER_BYTES} bytes at most.",
                    f"Check that the context {self.access.context!r} names a Kubernetes API server.",
                )
        return b"".join(parts)

    def _refused(self, request: Request, answer: _Answer) -> KubeRefusedError | UnreachableError | UnexpectedAnswerError:
        if answer.is_redirect:
            return UnexpectedAnswerError(
                f"The request to {request.doing} was answered with a redirect ({answer.status}).",
                "API servers do not redirect, and podpass never sends a credential along.",
                f"Correct the server of context {self.access.context!r} in the kubeconfig: it is {self.access.server}.",
            )
        fault = KubeFault.parse(answer.status, answer.content)
        if fault.code == httpx2.codes.NOT_IMPLEMENTED or fault.code < _SERVER_ERROR:
            return KubeRefusedError(fault, request.doing, self.access.context)
        what = f"The cluster (context {self.access.context!r}) could not {request.doing} ({fault.code})."
        return UnreachableError(what, fault.message, "Look after the API server, then run the command again.", code="neighbour.kubernetes")

    def _silent(self, seconds: float) -> UnreachableError:
        return UnreachableError(
            f"The cluster {self.access.server} (context {self.access.context!r}) has given no answer for {seconds:.0f} s.",
            "Something swallows what is sent there: a firewall, a VPN that is off, or a server that hangs.",
            "Check that it runs and that this machine reaches it: `kubectl cluster-info`.",
            code="neighbour.cluster-unreachable",
        )

    def _unreachable(self, request: Request, error: Exception) -> UnreachableError:
        words = redact(str(error)) or type(error).__name__
        what = f"The cluster {self.access.server} (context {self.access.context!r}) gave no answer when asked to {request.doing}."
        next_step = "Check that it runs and that this machine reaches it: `kubectl cluster-info`."
        if "CERTIFICATE_VERIFY_FAILED" in words:
            next_step = "Its certificate is not of the kubeconfig's CA: this is another cluster, or the kubeconfig is old. Fetch it anew."
        return UnreachableError(what, f"{words.rstrip('.')}.", next_step, code="neighbour.cluster-unreachable")


def connect(access: ClusterAccess, *, transport: httpx2.BaseTransport | None = None) -> KubeClient:
    """Make a client for a cluster; asks it nothing yet.

    Args:
        access: From `kubeconfig.load`.
        transport: Replaces the network, for tests.

    Raises:
        ConfigError: A certificate or key of the kubeconfig cannot be used.
    """
    user = access.config.user or User()
    try:
        verify = verify_cluster(access.config.cluster, user, access.config.abs_file)
    except (OSError, ValueError, ssl.SSLError, LightkubeError) as error:
        raise ConfigError(
            f"The certificates of context {access.context!r} cannot be used.",
            f"{type(error).__name__}{f': {error.strerror}' if isinstance(error, OSError) and error.strerror else ''}.",
            "Fetch the kubeconfig anew.",
            code="config.kubeconfig",
        ) from error
    auth = ExecCredential(access.exec_plugin) if access.exec_plugin else user_auth(user)
    http = httpx2.Client(
        base_url=access.server,
        verify=verify,
        auth=auth,
        timeout=httpx2.Timeout(_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S),
        headers={"user-agent": f"podpass/{podpass.__version__}"},
        follow_redirects=False,
        proxy=access.proxy_url,
        mounts=None if access.proxy_url else PAST_PROXIES,  # as kubectl: the environment's proxies are not for loopback
        transport=transport,
    )
    return KubeClient(access, http)


def _asked_pause_s(answer: _Answer) -> float:
    """Return the seconds that a busy server asks for; the real one asks for one."""
    text = answer.headers.get("retry-after", "")
    return min(float(text), _LONGEST_PAUSE_S) if text.isdecimal() else 0.0


def _is_passing(request: Request, status: int) -> bool:
    """Say whether another try may be answered otherwise; what is not implemented stays so."""
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        return True
    return request.may_repeat and status >= _SERVER_ERROR and status != httpx2.codes.NOT_IMPLEMENTED


def _is_lasting(error: Exception) -> bool:
    """Say whether trying again cannot help: a foreign certificate, a missing token file."""
    return isinstance(error, LightkubeError) or "CERTIFICATE_VERIFY_FAILED" in str(error)
