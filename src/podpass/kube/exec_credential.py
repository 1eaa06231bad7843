# SPDX-License-Identifier: Apache-2.0
"""Credential plugins: a program that the kubeconfig names and that prints a token (EKS, GKE, AKS, OIDC logins).

Source:
    client.authentication.k8s.io/v1: the program gets KUBERNETES_EXEC_INFO and prints an ExecCredential. Plugins that give a client
    certificate in place of a token are refused: TLS is set up before they run.
"""

import json
import os
import subprocess
import threading
from collections.abc import Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import httpx2

from podpass.clock import Clock, SystemClock
from podpass.errors import ConfigError, SourceUnavailableError
from podpass.names import Secret
from podpass.names.secret import redact

_GROUP = "client.authentication.k8s.io/"
_VERSIONS = frozenset({f"{_GROUP}v1", f"{_GROUP}v1beta1"})
_TIMEOUT_S: Final = 60
# A token that ends sooner is fetched anew, so that none ends on the way.
_MARGIN: Final = timedelta(seconds=60)


class ExecCredential(httpx2.Auth):
    """Signs requests with the token that a plugin prints; runs it again when the token's time is over, or when it is refused.

    Args:
        settings: The kubeconfig's `exec`.
        clock: Judges the token's time.
    """

    def __init__(self, settings: Mapping[str, Any], clock: Clock | None = None) -> None:
        self._command = [str(settings.get("command", "")), *(str(argument) for argument in settings.get("args") or [])]
        self._version = str(settings.get("apiVersion", ""))
        self._variables = {str(item["name"]): str(item["value"]) for item in settings.get("env") or []}
        self._hint = str(settings.get("installHint") or "").strip()
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._token: Secret[str] | None = None
        self._expires_at: datetime | None = None
        if self._version not in _VERSIONS:
            raise ConfigError(
                f"The kubeconfig's credential plugin {self._command[0]!r} speaks {self._version!r}.",
                f"podpass speaks {_GROUP}v1 and v1beta1.",
                "Fetch the kubeconfig anew with your cloud's tool.",
                code="config.kubeconfig",
            )

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send the request with the token, and once more with a new one if it is refused."""
        token = self._current(stale=None)
        request.headers["Authorization"] = f"Bearer {token.reveal()}"
        response = yield request
        if response.status_code == httpx2.codes.UNAUTHORIZED:
            request.headers["Authorization"] = f"Bearer {self._current(stale=token).reveal()}"
            yield request

    def _current(self, stale: Secret[str] | None) -> Secret[str]:
        with self._lock:
            is_over = self._expires_at is not None and self._clock.now() + _MARGIN >= self._expires_at
            if self._token is None or self._token == stale or is_over:
                self._token, self._expires_at = self._run()
            return self._token

    def _run(self) -> tuple[Secret[str], datetime | None]:
        info = {"apiVersion": self._version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environment = {**os.environ, **self._variables, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        try:
            done = subprocess.run(  # noqa: S603 - the command is the operator's own, from the kubeconfig, as kubectl runs it
                self._command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
            )
        except (FileNotFoundError, PermissionError):  # the latter where a folder of PATH is not this user's to search
            raise self._failed("It is not installed.", self._hint or "Install it, or use a kubeconfig with other credentials.") from None
        except (OSError, subprocess.TimeoutExpired) as error:
            raise self._failed(f"{type(error).__name__}.", "Run it by hand to see why.") from None
        if done.returncode != 0:
            words = redact(done.stderr.decode(errors="replace").strip()[-4096:])[-400:]
            raise self._failed(f"It ended with exit code {done.returncode}: {words}", "Log in with your cloud's tool, then repeat.")
        return self._read(done.stdout)

    def _read(self, output: bytes) -> tuple[Secret[str], datetime | None]:
        try:
            status = json.loads(output)["status"]
            token = status["token"]
            until = status.get("expirationTimestamp")
            expires_at = datetime.fromisoformat(until).astimezone(UTC) if until else None
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            token = None
        if not isinstance(token, str) or not token:
            # The output may hold the secret in another place, so it is not shown.
            raise self._failed("It printed no ExecCredential with a token.", "Use a kubeconfig with other credentials.")
        return Secret(token, "cluster credential"), expires_at

    def _failed(self, why: str, next_step: str) -> SourceUnavailableError:
        what = f"The kubeconfig's credential plugin {self._command[0]!r} gave no token."
        return SourceUnavailableError(what, why, next_step, code="credential.exec-plugin")
