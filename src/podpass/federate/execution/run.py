# SPDX-License-Identifier: Apache-2.0
"""Runs a graph of steps, as parallel as the graph allows, and says what was done and what stopped it.

- The first failure stops new steps; those under way are waited for.
- A step that rests on something new is tried again for a while when Google does not know that yet (`PATIENCE`).
- Ctrl-C stops new steps and every wait between two tries; what has been sent is waited for, for some seconds: a side may be silent, and
  the receipt knows of it. A second Ctrl-C does not wait.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from graphlib import TopologicalSorter
from time import monotonic
from typing import Final, Literal

from podpass.errors import PodpassError
from podpass.federate.execution.steps import Step
from podpass.net.flights import Pool, within

# How long Google's own systems may take to agree that something new exists: an account is unknown to policies for seconds, a role takes
# up to about 70 s to work. [M]
PATIENCE: Final = timedelta(seconds=90)
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 8.0
_WORKERS: Final = 8
# A signal that comes just before a thread begins to wait does not end the wait: Ctrl-C is noticed when it looks up.
_LOOKS_EVERY_S: Final = 0.25
GRACE: Final = timedelta(seconds=3)
"""How long what has been sent is waited for after Ctrl-C."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a step."""

    step: Step
    happened: Literal["started", "waiting", "done", "failed", "given up"]
    detail: str = ""


@dataclass(slots=True)
class Outcome:
    """How far a run came.

    Attributes:
        done: Keys of the steps that were made.
        uids: Of what was made, by address.
        failure: What stopped the run; None if nothing did.
        is_interrupted: Ctrl-C stopped it.
        is_cut_short: Something that had been sent was not waited for any longer.
    """

    done: set[str] = field(default_factory=set)
    uids: dict[str, str] = field(default_factory=dict)
    failure: PodpassError | None = None
    is_interrupted: bool = False
    is_cut_short: bool = False

    def close(self, write: Callable[[], None]) -> None:
        """Write what is known at the end. Never raises a PodpassError; what cannot be written, the next run finds out."""
        try:
            if self.is_interrupted:
                within(write, GRACE.total_seconds())
            else:
                write()
        except TimeoutError:
            self.is_cut_short = True
        except PodpassError as error:
            self.failure = self.failure or error


Act = Callable[[Step], Mapping[str, str]]
"""Makes one step true; returns the uids of what it made, by address. May be called again for the same step."""
IsTeething = Callable[[PodpassError], bool]
"""Whether an error may come from something new that is not known everywhere yet."""


class _GivenUpError(Exception):
    """Ctrl-C came while a step waited for its next try: it is not made, and nothing is wrong with it."""


def run(
    steps: Mapping[str, Step],
    act: Act,
    *,
    is_teething: IsTeething,
    notify: Callable[[Event], None] = lambda _: None,
    patience: timedelta = PATIENCE,
) -> Outcome:
    """Make every step true, each after those that come before it. Never raises a PodpassError: the outcome holds it."""
    return _Run(steps, act, is_teething, notify, patience).run()


class _Run:
    def __init__(
        self, steps: Mapping[str, Step], act: Act, is_teething: IsTeething, notify: Callable[[Event], None], patience: timedelta
    ) -> None:
        self.steps = steps
        self.act = act
        self.is_teething = is_teething
        self.notify = notify
        self.patience = patience
        self.stopping = threading.Event()
        self.outcome = Outcome()

    def run(self) -> Outcome:
        order = TopologicalSorter({key: step.after & self.steps.keys() for key, step in self.steps.items()})
        order.prepare()
        running: dict[Future[Mapping[str, str]], str] = {}
        pool = Pool("podpass-apply", _WORKERS)
        until_s: float | None = None
        while True:
            try:
                if not self.stopping.is_set():
                    for key in order.get_ready():
                        running[pool.launch(partial(self._one, self.steps[key]))] = key
                if not running:
                    return self.outcome
                left_s = _LOOKS_EVERY_S if until_s is None else min(_LOOKS_EVERY_S, max(0.0, until_s - monotonic()))
                finished, _ = wait(running, left_s, FIRST_COMPLETED)
                if not finished and until_s is not None and monotonic() >= until_s:
                    self.outcome.is_cut_short = True
                    return self.outcome
                for future in finished:
                    self._finish(future, running.pop(future), order)
            except KeyboardInterrupt:
                if self.outcome.is_interrupted:
                    raise
                self.outcome.is_interrupted = True
                until_s = monotonic() + GRACE.total_seconds()
                self.stopping.set()

    def _finish(self, future: Future[Mapping[str, str]], key: str, order: TopologicalSorter[str]) -> None:
        step = self.steps[key]
        try:
            self.outcome.uids.update(future.result())
        except PodpassError as error:
            self.stopping.set()
            self.outcome.failure = self.outcome.failure or error
            self.notify(Event(step, "failed", error.what))
            return
        except _GivenUpError:
            self.notify(Event(step, "given up"))
            return
        self.outcome.done.add(key)
        order.done(key)
        self.notify(Event(step, "done"))

    def _one(self, step: Step) -> Mapping[str, str]:
        self.notify(Event(step, "started"))
        give_up_s = monotonic() + self.patience.total_seconds()
        pause_s = _FIRST_PAUSE_S
        while True:
            try:
                return self.act(step)
            except PodpassError as error:
                if not (step.is_patient and self.is_teething(error)) or monotonic() + pause_s > give_up_s:
                    raise
                self.notify(Event(step, "waiting", error.what))
                if self.stopping.wait(pause_s):
                    if self.outcome.is_interrupted:
                        raise _GivenUpError from error
                    raise
            pause_s = min(pause_s * 1.6, _LONGEST_PAUSE_S)
