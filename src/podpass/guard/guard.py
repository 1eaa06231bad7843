# SPDX-License-Identifier: Apache-2.0
"""The guard that shells hold: a judge, exchanged when its policy changes, and the record of what it decides."""

import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING, Final, Self

from podpass.clock import Clock
from podpass.errors import PodpassError
from podpass.guard import decision_log
from podpass.guard.decide import Allow, Decision, Judge
from podpass.guard.incoming import Incoming
from podpass.guard.metrics import Metrics
from podpass.guard.policy_file import PolicyFile
from podpass.guard.wiring import Wiring
from podpass.policy import InvokerPolicy, short_form

if TYPE_CHECKING:
    from pathlib import Path

LOGGER: Final = logging.getLogger("podpass.guard")
# As long as a caller waits for an issuer that nobody has asked yet; whoever fetches has a shorter deadline.
WAIT_LIMIT_S: Final = 5.0
POLICY_VARIABLE: Final = "PODPASS_POLICY"


def pending(decision: Decision, waited: set[str]) -> Future[object] | None:
    """Return what is worth waiting for: once for keys, once for a review after them. `waited` holds the codes of what was."""
    if isinstance(decision, Allow) or decision.flight is None or decision.code in waited:
        return None
    waited.add(decision.code)
    return decision.flight


class Guard:
    """Decides about requests, counts and records what it decides, and keeps up with its policy file.

    Safe for several threads. Made by one of `from_env`, `from_file`, `from_policy`.
    """

    def __init__(self, judge: Judge, clock: Clock, file: PolicyFile | None = None) -> None:
        self.metrics = Metrics()
        self._judge = judge
        self._clock = clock
        self._file = file
        self._reloading = threading.Lock()

    @classmethod
    def from_policy(cls, policy: InvokerPolicy, wiring: Wiring | None = None) -> Self:
        """Guard by a policy that is at hand and never changes.

        Raises:
            ConfigError: It cannot be applied; see `Wiring.judge`.
        """
        wiring = wiring or Wiring()
        return cls(wiring.judge(policy), wiring.clock)

    @classmethod
    def from_file(cls, path: "Path | str", wiring: Wiring | None = None) -> Self:
        """Guard by a policy file, which is read again whenever it changes; a wrong one then never replaces a good one.

        Raises:
            ConfigError: The file cannot be read, is wrong, or cannot be applied.
        """
        from pathlib import Path  # noqa: PLC0415 - costs as much as a quarter of the guard

        wiring = wiring or Wiring()
        file = PolicyFile(Path(path), wiring.judge)
        return cls(file.load(), wiring.clock, file)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, wiring: Wiring | None = None) -> Self:
        """Guard by the file that PODPASS_POLICY names, else by the issuer and audience of ID_ISSUER and JWT_AUDIENCE.

        PODPASS_POLICY takes precedence even if it is empty. An empty one, and an environment with nothing of all this, admit nobody.

        Raises:
            ConfigError: What is there is wrong.
        """
        environ = os.environ if environ is None else environ
        if path := environ.get(POLICY_VARIABLE):
            return cls.from_file(path, wiring)
        if POLICY_VARIABLE not in environ and short_form.is_configured(environ):
            return cls.from_policy(short_form.from_environment(environ), wiring)
        why = f"{POLICY_VARIABLE} is empty" if POLICY_VARIABLE in environ else f"neither {POLICY_VARIABLE} nor ID_ISSUER is set"
        LOGGER.error("Every request is denied: %s. Name a policy file in %s.", why, POLICY_VARIABLE)
        return cls.from_policy(InvokerPolicy.nobody(), wiring)

    @property
    def policy(self) -> InvokerPolicy:
        """The policy that is applied now."""
        return self._judge.policy

    def decide(self, request: Incoming) -> Decision:
        """Decide about a request and record it; waits, for seconds at most, where keys or a second opinion are on their way."""
        decision = self.decide_now(request)
        waited: set[str] = set()
        while (flight := pending(decision, waited)) is not None:
            wait([flight], timeout=WAIT_LIMIT_S)
            decision = self.decide_now(request)
        self.record(request, decision)
        return decision

    def decide_now(self, request: Incoming) -> Decision:
        """Decide about a request with what is at hand. Whoever acts on it calls `record` as well."""
        file = self._file
        if file is not None and file.tick() >= file.look_at_s and file.has_changed():
            file.reload(self.reload)
        return self._judge.decide(request, now=self._clock.now())

    def record(self, request: Incoming, decision: Decision) -> None:
        """Count a decision and write it down."""
        self.metrics.count(decision)
        decision_log.log(request, decision, self._judge.policy, self._clock)

    def reload(self) -> None:
        """Read the policy file again; if anything about it is wrong, the last good policy stays."""
        if self._file is None:
            return
        with self._reloading:
            try:
                self._judge = self._file.load()
            except PodpassError as error:
                self.metrics.count_reload(succeeded=False)
                LOGGER.error("The policy stays as it was: %s [%s]", error, error.full_code)  # noqa: TRY400 - the operator's mistake, not ours
            except Exception:
                self.metrics.count_reload(succeeded=False)
                LOGGER.exception("The policy stays as it was: %s could not be read", self._file)
            else:
                self.metrics.count_reload(succeeded=True)
                LOGGER.info("The policy %s was read again from %s", self._judge.policy.name, self._file)

    def not_ready(self) -> tuple[str, ...]:
        """Return why the guard cannot serve yet, as sentences; nothing when it can."""
        if not self._judge.policy.rules:
            return ("The policy has no rules: every request is denied.",)
        missing = self._judge.authenticator.missing_keys()
        return tuple(f"The keys of issuer {name} are not at hand." for name in missing)
