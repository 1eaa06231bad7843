# SPDX-License-Identifier: Apache-2.0
"""The guard that shells hold: a judge, exchanged when its policy changes, and the record of what it decides."""

import logging
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future, wait
from logging import INFO
from math import inf
from typing import TYPE_CHECKING, Final, Self

from podpass.clock import Clock, seconds_by
from podpass.errors import ConfigError, KeysUnavailableError, PodpassError
from podpass.guard import decision_log
from podpass.guard.bearer import AUTHORIZATION, USUAL, Headers
from podpass.guard.decide import Allow, Decision, Judge
from podpass.guard.familiar import Place
from podpass.guard.incoming import Incoming
from podpass.guard.metrics import Metrics
from podpass.guard.policy_file import PolicyFile
from podpass.guard.wiring import Wiring
from podpass.policy import InvokerPolicy, short_form
from podpass.verify.identity import Identity

if TYPE_CHECKING:
    from pathlib import Path

LOGGER: Final = logging.getLogger("podpass.guard")
# As long as a caller waits for an issuer that nobody has asked yet; whoever fetches has a shorter deadline.
WAIT_LIMIT_S: Final = 5.0
POLICY_VARIABLE: Final = "PODPASS_POLICY"
_PAUSE_S: Final = 0.02
_USUAL_BYTES: Final = len(USUAL)
_listens: Final = decision_log.LOGGER.isEnabledFor


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
        self._allowed = self.metrics.decisions
        self._judge = judge
        self._clock = clock
        self._seconds = seconds_by(clock)
        self._file = file
        # Between these two moments no request need look at the file.
        self._calm_from_s, self._calm_until_s = (-inf, inf) if file is None else (inf, -inf)
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
        self._look()
        return self._judge.decide(request, now=self._clock.now())

    def recognise(self, place: Place, headers: Headers) -> Identity | None:  # noqa: C901 - each call in it would cost every request
        """Return a known caller whom the rules admit to a known place, and record it; None: it takes `decide_now` to tell.

        Nearly every request ends here, so this is one function, and does nothing twice. It must never admit what `Judge.decide` would not.

        Args:
            place: Where the request goes, as an ASGI server says it.
            headers: Names in lower case.
        """
        # What is called by a name of its own is called without a search.
        judge, seconds = self._judge, self._seconds
        now_s = seconds()
        if not self._calm_from_s <= now_s < self._calm_until_s:
            self._look_and_rest(now_s)
        known = judge.familiar
        rule = known.places.get(place)
        if rule is None:
            return None
        value = None
        for name, text in headers:
            if name == AUTHORIZATION:
                if value is not None:
                    return None
                value = text
        if value is None or not value.startswith(USUAL):
            return None
        # Nothing but a token that was accepted has such a digest: so nothing stands around it, no blank and no second credential.
        digest = known.empty.copy()
        digest.update(value[_USUAL_BYTES:])
        result = known.results.get(digest.digest())
        if result is None or not result.begins_at_s <= now_s < result.ends_at_s:
            return None
        for keys, generation in result.relies_on:
            if keys.generation != generation:
                return None
        identity = result.identity
        if rule.refusal_of(identity, None) is not None:
            return None
        next(self._allowed["allow", "", rule.name, identity.issuer_name])
        if _listens(INFO):
            decision_log.log(Incoming(place[1], place[2], (), "", place[4]), Allow(identity, rule), judge.policy, self._clock)
        return identity

    def _look(self) -> None:
        """Read the policy file again, on a thread of its own, if it has changed since the last look, a second ago or more."""
        file = self._file
        if file is not None and file.tick() >= file.look_at_s and file.has_changed():
            file.reload(self.reload)

    def _look_and_rest(self, now_s: float) -> None:
        """Look, and tell until when there is no need to; a clock that is set back ends that as well."""
        self._look()
        if self._file is not None:
            self._calm_from_s, self._calm_until_s = now_s, now_s + self._file.look_at_s - self._file.tick()

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

    def wait_until_ready(self, limit_s: float = WAIT_LIMIT_S) -> Self:
        """Return this guard when it can serve: for a service that would rather not start than start without its issuers' keys.

        Args:
            limit_s: How long to wait, in seconds.

        Raises:
            ConfigError: The policy has no rules, so it never can.
            KeysUnavailableError: Keys are still missing at the limit; the log says why.
        """
        from time import monotonic, sleep  # noqa: PLC0415 - for services that wait

        ends_at_s = monotonic() + limit_s
        while reasons := self.not_ready():
            if not self._judge.policy.rules:
                raise ConfigError("The guard would deny every request.", reasons[0], "Write an InvokerPolicy.", code="config.no-rules")
            if monotonic() >= ends_at_s:
                cure = "The log says why. A guard that is not waited for serves all the same, and answers 503 until then."
                raise KeysUnavailableError(f"The guard is not ready after {limit_s:g} s.", " ".join(reasons), cure, retry_after_s=1.0)
            sleep(_PAUSE_S)
        return self

    def not_ready(self) -> tuple[str, ...]:
        """Return why the guard cannot serve yet, as sentences; nothing when it can."""
        if not self._judge.policy.rules:
            return ("The policy has no rules: every request is denied.",)
        missing = self._judge.authenticator.missing_keys()
        return tuple(f"The keys of issuer {name} are not at hand." for name in missing)
