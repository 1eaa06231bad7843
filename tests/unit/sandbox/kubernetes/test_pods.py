# SPDX-License-Identifier: Apache-2.0
from datetime import UTC, datetime
from typing import Any

import pytest

from podpass.sandbox.kubernetes.kinds.pod_spec import check_pod_spec, default_pod_spec
from podpass.sandbox.kubernetes.kinds.pods import POD

NOW = datetime(2026, 11, 22, tzinfo=UTC)
SIDECAR, ORDINARY = {"name": "proxy", "image": "i", "restartPolicy": "Always"}, {"name": "first", "image": "i"}
RUNS: dict[str, Any] = {"ready": True, "started": True, "state": {"running": {}}}
WAITS: dict[str, Any] = {"ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
DONE: dict[str, Any] = {"ready": True, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}
INITIALIZED = {"type": "Initialized", "status": "True"}


def columns(init: list[dict[str, Any]], main: dict[str, Any], *conditions: dict[str, Any], **status: Any) -> list[str]:  # noqa: ANN401 - JSON
    """Return what kubectl prints as READY, STATUS and RESTARTS of a pod with an ordinary init container and a sidecar."""
    statuses = {
        "initContainerStatuses": [{"name": name, **row} for name, row in zip(("first", "proxy"), init, strict=True)],
        "containerStatuses": [{"name": "main", **main}],
    }
    pod = {
        "metadata": {"name": "p"},
        "spec": {"initContainers": [ORDINARY, SIDECAR], "containers": [{"name": "main", "image": "i"}]},
        "status": {"phase": "Pending", "conditions": list(conditions), **statuses, **status},
    }
    return [str(column.value(pod, NOW)) for column in POD.columns if column.name in {"Ready", "Status", "Restarts"}]


@pytest.mark.parametrize(
    ("init", "main", "conditions", "expected"),
    [
        ([{**WAITS}, WAITS], WAITS, [], ["0/2", "Init:0/2", "0"]),
        ([DONE, {**RUNS, "ready": False, "started": False}], WAITS, [], ["0/2", "Init:1/2", "0"]),
        ([{"state": {"terminated": {"exitCode": 3, "reason": "Error"}}}, WAITS], WAITS, [], ["0/2", "Init:Error", "0"]),
        ([{"state": {"waiting": {"reason": "ErrImagePull"}}}, WAITS], WAITS, [], ["0/2", "Init:ErrImagePull", "0"]),
        ([DONE, RUNS], RUNS, [INITIALIZED], ["2/2", "Running", "0"]),
        ([DONE, {**RUNS, "restartCount": 2}], {**RUNS, "restartCount": 1, "ready": False}, [INITIALIZED], ["1/2", "Running", "3"]),
    ],
)
def test_table_counts_sidecars_and_says_how_far_the_init_containers_are(
    init: list[dict[str, Any]], main: dict[str, Any], conditions: list[dict[str, Any]], expected: list[str]
) -> None:
    phase = "Running" if conditions else "Pending"
    assert columns(init, main, *conditions, phase=phase) == expected


def causes(**spec: Any) -> list[str]:  # noqa: ANN401 - JSON
    whole = {"containers": [{"name": "main", "image": "i"}], "restartPolicy": "Always", **spec}
    return [f"{cause.field}: {cause.message}" for cause in check_pod_spec(whole, "spec")]


def test_sidecar_may_have_probes() -> None:
    assert causes(initContainers=[{**SIDECAR, "startupProbe": {"exec": {"command": ["true"]}}}]) == []


# The words of kube-apiserver 1.36.
@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        (
            {"containers": [{"name": "main", "image": "i", "restartPolicy": "Bad"}]},
            'spec.containers[0].restartPolicy: Unsupported value: "Bad": supported values: "Always", "Never", "OnFailure"',
        ),
        (
            {"initContainers": [{**SIDECAR, "restartPolicy": "Bad"}]},
            'spec.initContainers[0].restartPolicy: Unsupported value: "Bad": supported values: "Always", "Never", "OnFailure"',
        ),
        (
            {"initContainers": [{**ORDINARY, "restartPolicy": "Never", "readinessProbe": {"grpc": {"port": 1}}}]},
            "spec.initContainers[0].readinessProbe: Forbidden: may not be set for init containers without restartPolicy=Always",
        ),
    ],
)
def test_what_kubernetes_refuses_of_it_is_refused(spec: dict[str, Any], cause: str) -> None:
    assert causes(**spec) == [cause]


def test_ports_of_the_hosts_network_are_the_hosts() -> None:
    spec = {"hostNetwork": True, "containers": [{"name": "main", "image": "i", "ports": [{"containerPort": 80}]}]}
    default_pod_spec(spec)
    assert spec["containers"][0]["ports"] == [{"containerPort": 80, "protocol": "TCP", "hostPort": 80}]  # type: ignore[index]
