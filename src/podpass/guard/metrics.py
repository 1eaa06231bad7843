# SPDX-License-Identifier: Apache-2.0
"""Counters in the form that Prometheus reads.

They are kept without any library, and every label has few values: verdicts and codes are podpass's own, rules and issuers the policy's.
What would exceed the bound all the same (many policies, one after another) is counted under `other`.

An application that has the package prometheus-client registers a `Collector`, and finds the guard's counters among its own.
"""

import itertools
import threading
from collections.abc import Iterator
from typing import Any, Final, Protocol

from podpass.guard.decide import Allow, Decision

_SERIES_LIMIT = 1000
_DECISIONS: Final = "podpass_guard_decisions_total"
_RELOADS: Final = "podpass_guard_policy_reloads_total"
_READY: Final = "podpass_guard_ready"
_HELP: Final = {
    _DECISIONS: "Requests judged, by verdict.",
    _RELOADS: "Policies read again, by result; after a failure the last good one is served.",
    _READY: "1 when every issuer's keys are at hand.",
}
_LABELS: Final = {_DECISIONS: ("verdict", "code", "rule", "issuer"), _RELOADS: ("result",), _READY: ()}
Labels = tuple[str, ...]


class Counters(dict[Labels, Iterator[int]]):
    """A counter for each set of labels, made when it is asked for; `next` counts, in one step, so that threads need no lock."""

    def __missing__(self, labels: Labels) -> Iterator[int]:
        if len(self) >= _SERIES_LIMIT:
            labels = (labels[0], "other", "other", "other")
        return self.setdefault(labels, itertools.count())


class Metrics:
    """The counters of one guard.

    Attributes:
        decisions: By verdict, code, rule and issuer.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.decisions = Counters()
        self._readings: dict[Labels, int] = {}
        self._reloads: dict[Labels, int] = {("ok",): 0, ("failed",): 0}

    def count(self, decision: Decision) -> None:
        """Count a decision."""
        next(self.decisions[_labels(decision)])

    def count_reload(self, *, succeeded: bool) -> None:
        """Count a policy that was read again."""
        with self._lock:
            self._reloads["ok" if succeeded else "failed",] += 1

    def _read(self, labels: Labels, counter: Iterator[int]) -> int:
        """Return how often it was counted; a counter can only be read by counting, so readings are counted as well."""
        readings = self._readings.get(labels, 0)
        self._readings[labels] = readings + 1
        return next(counter) - readings

    def families(self, *, is_ready: bool) -> Iterator[tuple[str, dict[Labels, int]]]:
        """Yield each metric with its values by labels."""
        with self._lock:
            decisions = {labels: self._read(labels, counter) for labels, counter in list(self.decisions.items())}
            reloads = dict(self._reloads)
        yield _DECISIONS, decisions
        yield _RELOADS, reloads
        yield _READY, {(): int(is_ready)}

    def render(self, *, is_ready: bool) -> str:
        """Write the text form (version 0.0.4)."""
        return "".join(line + "\n" for line in self._lines(is_ready=is_ready))

    def _lines(self, *, is_ready: bool) -> Iterator[str]:
        for name, values in self.families(is_ready=is_ready):
            yield f"# HELP {name} {_HELP[name]}"
            yield f"# TYPE {name} {'counter' if name.endswith('_total') else 'gauge'}"
            for labels, value in sorted(values.items()):
                pairs = ",".join(f'{label}="{_escaped(text)}"' for label, text in zip(_LABELS[name], labels, strict=True))
                yield f"{name}{{{pairs}}} {value}" if pairs else f"{name} {value}"


def _labels(decision: Decision) -> Labels:
    issuer = decision.identity.issuer_name if decision.identity else ""
    if isinstance(decision, Allow):
        verdict, code = ("allow", "") if decision.audited is None else ("audit", decision.audited.value)
    else:
        verdict, code = "deny", decision.code
    return verdict, code, decision.rule or "", issuer


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


class Countable(Protocol):
    """What is counted: a guard."""

    @property
    def metrics(self) -> Metrics:
        """Its counters."""
        ...

    def not_ready(self) -> tuple[str, ...]:
        """Why it cannot serve yet."""
        ...


class Collector:
    """Hands a guard's counters to prometheus-client, whenever that is asked for them."""

    def __init__(self, guard: Countable) -> None:
        self._guard = guard

    def collect(self) -> Iterator[Any]:
        """Yield the metrics in the library's own classes."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415 - optional

        for name, values in self._guard.metrics.families(is_ready=not self._guard.not_ready()):
            family = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            metric = family(name.removesuffix("_total"), _HELP[name], labels=_LABELS[name])
            for labels, value in values.items():
                metric.add_metric(labels, value)
            yield metric
