# SPDX-License-Identifier: Apache-2.0
import json
import sys
from types import ModuleType
from typing import Any

import pytest

from guarding import CLUSTER, World, bearer, good, of
from podpass.guard import Deny, Guard, Incoming, health
from podpass.guard.metrics import Collector, Metrics


@pytest.fixture
def guard() -> Guard:
    guard = World().guard()
    for target, token in (("/", None), ("/private", good()), ("/private", good()), ("/private", of("shop", "cart")), ("/private", "x")):
        guard.decide(Incoming("GET", target.encode(), [bearer(token)] if token else []))
    return guard


TEXT = """\
# HELP podpass_guard_decisions_total Requests judged, by verdict.
# TYPE podpass_guard_decisions_total counter
podpass_guard_decisions_total{verdict="allow",code="",rule="open",issuer=""} 1
podpass_guard_decisions_total{verdict="allow",code="",rule="private",issuer="cluster"} 2
podpass_guard_decisions_total{verdict="deny",code="policy.not-a-member",rule="private",issuer="cluster"} 1
podpass_guard_decisions_total{verdict="deny",code="token.malformed",rule="",issuer=""} 1
# HELP podpass_guard_policy_reloads_total Policies read again, by result; after a failure the last good one is served.
# TYPE podpass_guard_policy_reloads_total counter
podpass_guard_policy_reloads_total{result="failed"} 0
podpass_guard_policy_reloads_total{result="ok"} 0
# HELP podpass_guard_ready 1 when every issuer's keys are at hand.
# TYPE podpass_guard_ready gauge
podpass_guard_ready 0
"""


def test_metrics_are_written_as_prometheus_reads_them(guard: Guard) -> None:
    assert guard.metrics.render(is_ready=False) == TEXT


def test_labels_are_bounded_whatever_is_asked_for() -> None:
    metrics = Metrics()
    for number in range(3000):
        metrics.count(Deny(403, "policy.no-rule", "", rule=f"rule-{number}"))
    lines = [line for line in metrics.render(is_ready=True).splitlines() if "deny" in line]
    assert len(lines) == 1001
    assert 'podpass_guard_decisions_total{verdict="deny",code="other",rule="other",issuer="other"} 2000' in lines


def test_audited_requests_are_counted_apart() -> None:
    guard = World("audit").guard()
    guard.decide(Incoming("GET", b"/nowhere", [bearer(good())]))
    assert 'verdict="audit",code="policy.no-rule",rule="",issuer="cluster"} 1' in guard.metrics.render(is_ready=True)


def test_a_name_with_a_quote_is_escaped() -> None:
    metrics = Metrics()
    metrics.count(Deny(403, "x", "", rule='a"b\\c\nd'))
    assert r'rule="a\"b\\c\nd"' in metrics.render(is_ready=True)


def test_prometheus_client_finds_the_counters(guard: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    class Family(list[tuple[tuple[str, ...], int]]):
        def __init__(self, name: str, _help: str, labels: tuple[str, ...]) -> None:
            self.name, self.labels = name, labels

        def add_metric(self, labels: tuple[str, ...], value: int) -> None:
            self.append((labels, value))

    library: Any = ModuleType("prometheus_client.core")
    library.CounterMetricFamily = library.GaugeMetricFamily = Family
    monkeypatch.setitem(sys.modules, "prometheus_client", ModuleType("prometheus_client"))
    monkeypatch.setitem(sys.modules, "prometheus_client.core", library)
    decisions, reloads, ready = Collector(guard).collect()
    assert (decisions.name, reloads.name, ready.name) == (
        "podpass_guard_decisions",
        "podpass_guard_policy_reloads",
        "podpass_guard_ready",
    )
    assert (("allow", "", "private", "cluster"), 2) in decisions
    assert ready == [((), 0)]


def test_probes_are_answered(guard: Guard) -> None:
    def probe(path: str, method: str = "GET", of: Guard = guard) -> tuple[int, Any]:
        found = health.answer(of, method, path)
        assert dict(found.headers)["content-length"] == str(len(found.body))
        return found.status, json.loads(found.body) if path != "/metrics" else found.body.decode()

    assert probe("/livez") == (200, {"status": "alive"})
    assert probe("/readyz") == (503, {"status": "not ready", "reasons": ["The keys of issuer down are not at hand."]})
    assert probe("/metrics") == (200, TEXT)
    assert probe("/private")[0] == 404
    assert probe("/livez", "POST")[0] == 405
    world = World()
    world.down.publish(CLUSTER)
    assert probe("/readyz", of=world.guard()) == (200, {"status": "ready", "reasons": []})
