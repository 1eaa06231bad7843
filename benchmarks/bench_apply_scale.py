# SPDX-License-Identifier: Apache-2.0
"""What do plan and apply of 1, 100 and 1,000 workloads cost?

Workloads lie in up to ten namespaces. `direct` ones have a role on the project and a credential configuration of their own; `selected`
ones are found by their label, and share a credential configuration in each namespace; the accounts of `impersonating` ones are made, bound
and given a role too (Google allows a project 100 accounts, so no more than that). Each number of
workloads has a sandbox of its own, at once consistent. Prints requests to both sides, for each workload too, and seconds of apply and of
the plan after it, which finds nothing to change. Then one JSON object.

    python benchmarks/bench_apply_scale.py
"""

import json
import logging
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from podpass.cli.session import google
from podpass.config.federation import Federation
from podpass.config.reading import load
from podpass.federate.execution.apply import apply
from podpass.federate.planning.prepared import Prepared, prepare
from podpass.federate.safety.allowances import Allowances
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import load as load_kubeconfig
from podpass.kube.objects import ensure_namespace, ensure_service_account
from podpass.names import ServiceAccountRef
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

CASES = (("direct", 1), ("direct", 100), ("direct", 1000), ("selected", 1000), ("impersonating", 1), ("impersonating", 100))
NAMESPACES = 10
ROLE = "roles/storage.objectViewer"
NO_DELAY = timedelta(0)


class Counted(logging.Handler):
    """Counts the requests to the cluster: its client logs one line for each."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count one."""
        self.count += " -> " in record.getMessage()


@contextmanager
def counting() -> Iterator[Counted]:
    """Count while the block runs."""
    counted, log = Counted(), logging.getLogger("podpass.kube.client")
    log.addHandler(counted)
    log.setLevel(logging.DEBUG)
    yield counted
    log.removeHandler(counted)


def federation(kind: str, number: int, kube: KubeClient, folder: Path) -> Federation:
    """Make the Kubernetes accounts, and write and read the federation file."""
    accounts = [ServiceAccountRef(f"team-{index % NAMESPACES}", f"app-{index}") for index in range(number)]
    for account in accounts:
        ensure_namespace(kube, account.namespace)
        ensure_service_account(kube, account, labels={"app": "large"})
    selected = {"selector": {"matchLabels": {"app": "large"}, "atMost": number}, "roles": [ROLE], "credentials": {"configMap": "google"}}
    workloads: list[dict[str, Any]] = [
        {
            "serviceAccount": str(account),
            "roles": [ROLE],
            "credentials": {"configMap": f"google-{account.name}"},
            **({"googleServiceAccount": f"workload-{index}"} if kind == "impersonating" else {}),
        }
        for index, account in enumerate(accounts)
    ]
    spec = {
        "google": {
            "project": "demo-project",
            "pool": {"id": "large-cluster"},
            "provider": {"id": "cluster"},
            "attributeCondition": "assertion['kubernetes.io'].namespace.startsWith('team-')",
        },
        "workloads": [selected] if kind == "selected" else workloads,
    }
    file = folder / "podpass.yaml"
    file.write_text(
        yaml.safe_dump({"apiVersion": "podpass.dev/v1alpha1", "kind": "Federation", "metadata": {"name": "large"}, "spec": spec})
    )
    return load(file)


def measure(kind: str, number: int) -> dict[str, Any]:
    """Apply once, plan once more."""
    settings = SandboxSettings(propagation=NO_DELAY, account_visibility=NO_DELAY)
    with HostedSandbox(settings) as sandbox, mock.patch.dict(os.environ, sandbox.environment()), ExitStack() as stack:
        kube, client = stack.enter_context(connect(load_kubeconfig(None, None))), stack.enter_context(google())
        declared = federation(kind, number, kube, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        counted = stack.enter_context(counting())
        row: dict[str, Any] = {"kind": kind, "workloads": number}
        for name, work in (("apply", _apply), ("plan", prepare)):
            before, begun = counted.count + len(sandbox.requests()), time.perf_counter()
            prepared = work(declared, client, kube)
            row[f"{name}_s"] = round(time.perf_counter() - begun, 2)
            row[f"{name}_requests"] = counted.count + len(sandbox.requests()) - before
        assert not prepared.plan.changes, "the second plan has found something to change"
    row["requests_a_workload"] = round(row["apply_requests"] / number, 2)
    return row


def _apply(declared: Federation, client: GoogleClient, kube: KubeClient) -> Prepared:
    prepared = prepare(declared, client, kube)
    apply(prepared, Allowances())
    return prepared


def main() -> None:
    """Measure each case and print."""
    rows = [measure(kind, number) for kind, number in CASES]
    print(f"{'':<14}{'workloads':>10}{'apply s':>9}{'requests':>10}{'each':>7}{'plan s':>8}{'requests':>10}")
    for row in rows:
        figures = f"{row['apply_s']:>9.2f}{row['apply_requests']:>10}{row['requests_a_workload']:>7.2f}{row['plan_s']:>8.2f}"
        print(f"{row['kind']:<14}{row['workloads']:>10}{figures}{row['plan_requests']:>10}")
    machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"benchmark": "apply_scale", "at": datetime.now(UTC).isoformat(), **machine, "rows": rows}))


if __name__ == "__main__":
    main()
