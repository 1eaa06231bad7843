# SPDX-License-Identifier: Apache-2.0
"""Many workloads: lists instead of a request for each, one write for each policy."""

import logging

import pytest

from podpass.config.reading import load
from podpass.federate.execution.apply import apply
from podpass.federate.planning.prepared import prepare
from podpass.federate.safety.allowances import Allowances
from podpass.kube.client import KubeClient, Request
from podpass.kube.fault import KubeFault, KubeRefusedError
from podpass.kube.objects import ensure_namespace, ensure_service_account
from podpass.names import ServiceAccountRef
from scenario.federate.conftest import Story

COUNT = 40
# Some 35, and what is asked again for as long as a new account is not known yet; one more for each workload would be 40.
_WHATEVER_THE_NUMBER = 50


def declare(story: Story, *, impersonating: bool) -> None:
    workloads = []
    for index in range(COUNT):
        account = ServiceAccountRef(story.name, f"app-{index}")
        ensure_namespace(story.kube, account.namespace)
        ensure_service_account(story.kube, account)
        google = {"googleServiceAccount": f"{story.name}-{index}"} if impersonating else {}
        workloads.append(
            {"serviceAccount": str(account), "roles": ["roles/viewer"], "credentials": {"configMap": f"google-{index}"}, **google}
        )
    story.write(workloads=workloads)


@pytest.mark.parametrize(("impersonating", "each", "unchanged"), [(False, 1, 0), (True, 3, 1)], ids=["direct", "impersonating"])
def test_workloads_cost_few_requests_each(
    story: Story, caplog: pytest.LogCaptureFixture, *, impersonating: bool, each: int, unchanged: int
) -> None:
    declare(story, impersonating=impersonating)

    def cost() -> int:
        before = len(story.sandbox.requests())
        caplog.clear()
        with caplog.at_level(logging.DEBUG, "podpass.kube.client"):
            apply(prepare(load(story.file), story.google, story.kube), Allowances())
        return len(caplog.records) + len(story.sandbox.requests()) - before

    assert cost() <= _WHATEVER_THE_NUMBER + each * COUNT
    assert cost() <= _WHATEVER_THE_NUMBER + unchanged * COUNT


def test_who_may_read_each_thing_and_not_list_them_has_each_read(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    declare(story, impersonating=False)
    call = KubeClient.call

    def without_lists(client: KubeClient, request: Request) -> dict[str, object]:
        if "limit" in request.query:
            raise KubeRefusedError(KubeFault(403, "Forbidden", "cannot list"), request.doing, "test")
        return call(client, request)

    monkeypatch.setattr(KubeClient, "call", without_lists)
    assert "Nothing to change" not in story.done("apply", "--yes")
    assert "Nothing to change" in story.done("plan")
