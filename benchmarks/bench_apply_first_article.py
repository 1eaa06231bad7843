# SPDX-License-Identifier: Apache-2.0
"""What does `podpass apply` of the first article cost, beside the article's gcloud commands and beside a serial script of Google's client?

Every round gives each subject a sandbox of its own, at once consistent, and runs it as a whole process. Against gcloud the sandbox answers
at once; against google-api-python-client each round trip takes 80 ms, as across the internet. Prints, for each subject, medians of the wall
seconds of the whole process, of the seconds from the first request's begin to the last one's end ("work": no interpreter is started in it,
but for gcloud's many), of CPU seconds, the requests to Google, and the sequential depth: the longest chain of requests of which each began
after the one before had ended. Then one JSON object.

    python benchmarks/bench_apply_first_article.py [ROUNDS]
"""

import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

ROOT = Path(__file__).parents[1]
ARTICLE = ROOT / "examples/first-article"
ROUND_TRIP = timedelta(milliseconds=80)
SERIAL = "serial"
NOT_FOUND = 404


@dataclass(frozen=True)
class Subject:
    """One way to do it: a name, a command, and the simulated round trip."""

    name: str
    command: tuple[str, ...]
    round_trip: timedelta = timedelta(0)


@dataclass(frozen=True)
class Run:
    """One measured run."""

    wall_s: float
    work_s: float
    cpu_s: float
    requests: int
    depth: int


def measure(subject: Subject) -> Run:
    """Run a subject once, in a sandbox of its own."""
    settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0), latency=subject.round_trip)
    with HostedSandbox(settings) as sandbox, tempfile.TemporaryDirectory() as folder:
        environment = os.environ | sandbox.environment()
        shutil.copy(ARTICLE / "podpass.yaml", folder)
        cpu_before, begun = _children_cpu_s(), time.perf_counter()
        subprocess.run(subject.command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        wall_s, cpu_s = time.perf_counter() - begun, _children_cpu_s() - cpu_before
        requests = sandbox.requests()
    work_s = max(each["finished"] for each in requests) - min(each["started"] for each in requests)
    return Run(wall_s, work_s, cpu_s, len(requests), depth(requests))


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def depth(requests: Iterable[Mapping[str, Any]]) -> int:
    """Return the length of the longest chain of requests that did not overlap."""
    longest: list[tuple[float, int]] = []
    for request in sorted(requests, key=lambda each: each["started"]):
        before = max((length for finished, length in longest if finished <= request["started"]), default=0)
        longest.append((request["finished"], before + 1))
    return max((length for _, length in longest), default=0)


def serial_script() -> None:
    """Do what apply does with google-api-python-client, one call after the other: look first, make what is missing, wait for it."""
    import google.auth  # noqa: PLC0415 - only the peer's process pays for it
    from googleapiclient.discovery import build  # noqa: PLC0415
    from googleapiclient.http import MediaInMemoryUpload  # noqa: PLC0415

    credentials, project = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    service: Callable[..., Any] = lambda name, version: build(name, version, credentials=credentials, cache_discovery=False)  # noqa: E731
    storage, iam, projects = service("storage", "v1"), service("iam", "v1"), service("cloudresourcemanager", "v1")
    number = projects.projects().get(projectId=project).execute()["projectNumber"]
    service("serviceusage", "v1").services().list(parent=f"projects/{project}", filter="state:ENABLED").execute()
    parent = f"projects/{number}/locations/global"
    pool = f"{parent}/workloadIdentityPools/workload-identity-demo"
    account = f"wif-demo-sa@{project}.iam.gserviceaccount.com"

    buckets, objects = storage.buckets(), storage.objects()
    body = {"name": "demo-oidc", "location": "US-EAST1", "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}}
    _make(buckets.get(bucket="demo-oidc"), buckets.insert(project=project, body=body))
    policy = buckets.getIamPolicy(bucket="demo-oidc").execute()
    policy["bindings"].append({"role": "roles/storage.legacyObjectReader", "members": ["allUsers"]})
    buckets.setIamPolicy(bucket="demo-oidc", body=policy).execute()
    for name in ("keys.json", ".well-known/openid-configuration"):
        media = MediaInMemoryUpload(b"{}", mimetype="application/json")
        body = {"name": name, "cacheControl": "public, max-age=0"}
        _make(objects.get(bucket="demo-oidc", object=name), objects.insert(bucket="demo-oidc", body=body, media_body=media))

    pools = iam.projects().locations().workloadIdentityPools()
    body = {"displayName": "Demo"}
    made = _make(pools.get(name=pool), pools.create(parent=parent, workloadIdentityPoolId="workload-identity-demo", body=body))
    _wait(pools.operations(), made)
    body = {
        "attributeMapping": {"google.subject": "assertion.sub", "attribute.sub": "assertion.sub"},
        "oidc": {"issuerUri": "https://storage.googleapis.com/demo-oidc"},
    }
    providers = pools.providers()
    create = providers.create(parent=pool, workloadIdentityPoolProviderId="wif-demo-oidc", body=body)
    _wait(providers.operations(), _make(providers.get(name=f"{pool}/providers/wif-demo-oidc"), create))

    accounts, account_name = iam.projects().serviceAccounts(), f"projects/{project}/serviceAccounts/{account}"
    create = accounts.create(name=f"projects/{project}", body={"accountId": "wif-demo-sa", "serviceAccount": {}})
    _make(accounts.get(name=account_name), create)
    member = f"principalSet://iam.googleapis.com/{pool}/attribute.sub/system:serviceaccount:default:workload-identity-demo"
    _bind(accounts, account_name, "roles/iam.workloadIdentityUser", member)
    _bind(projects.projects(), str(project), "roles/storage.admin", f"serviceAccount:{account}")


def _make(get: Any, create: Any) -> Any:  # noqa: ANN401 - Google's client has no types
    from googleapiclient.errors import HttpError  # noqa: PLC0415 - as above

    try:
        return get.execute()
    except HttpError as error:
        if error.status_code != NOT_FOUND:
            raise
        return create.execute()


def _wait(operations: Any, operation: Any) -> None:  # noqa: ANN401 - as above
    while not operation.get("done"):
        operation = operations.get(name=operation["name"]).execute()


def _bind(collection: Any, resource_name: str, role: str, member: str) -> None:  # noqa: ANN401 - as above
    policy = collection.getIamPolicy(resource=resource_name).execute()
    policy.setdefault("bindings", []).append({"role": role, "members": [member]})
    collection.setIamPolicy(resource=resource_name, body={"policy": policy}).execute()


def subjects() -> list[Subject]:
    """Return the subjects, those compared with each other side by side."""
    podpass = (str(Path(sys.executable).with_name("podpass")), "apply", "--yes")
    serial = (sys.executable, __file__, SERIAL)
    found = [Subject("podpass, 80 ms", podpass, ROUND_TRIP), Subject("google-api-python-client, 80 ms", serial, ROUND_TRIP)]
    if shutil.which("gcloud"):
        found += [Subject("podpass", podpass), Subject("gcloud", ("bash", str(ARTICLE / "gcloud.sh"), "up"))]
    else:
        print("gcloud is not installed, so there is nothing to compare with but google-api-python-client.")
    return found


def main(rounds: int) -> None:
    """Measure in interleaved rounds and print."""
    runs: dict[str, list[Run]] = {}
    for number in range(rounds + 1):
        for subject in subjects():
            run = measure(subject)
            if number:  # the first round warms the file cache
                runs.setdefault(subject.name, []).append(run)
    table = {
        name: {
            "wall_s": round(statistics.median(run.wall_s for run in measured), 3),
            "work_s": round(statistics.median(run.work_s for run in measured), 3),
            "cpu_s": round(statistics.median(run.cpu_s for run in measured), 3),
            "requests": int(statistics.median(run.requests for run in measured)),
            "depth": int(statistics.median(run.depth for run in measured)),
        }
        for name, measured in runs.items()
    }
    print(f"{'':<34}{'wall s':>8}{'work s':>8}{'CPU s':>8}{'requests':>10}{'depth':>7}")
    for name, row in table.items():
        print(f"{name:<34}{row['wall_s']:>8.2f}{row['work_s']:>8.2f}{row['cpu_s']:>8.2f}{row['requests']:>10}{row['depth']:>7}")
    ratios: dict[str, dict[str, float]] = {}
    for own, peer in (("podpass, 80 ms", "google-api-python-client, 80 ms"), ("podpass", "gcloud")):
        if peer in table:
            ratios[peer] = {figure: round(table[peer][figure] / table[own][figure], 1) for figure in ("wall_s", "work_s", "cpu_s", "depth")}
            print(f"{peer} / podpass: " + ", ".join(f"{figure} {ratio}" for figure, ratio in ratios[peer].items()))
    machine = {"machine": platform.machine(), "cpus": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"benchmark": "apply_first_article", "at": datetime.now(UTC).isoformat(), **machine, "runs": table, "ratios": ratios}))


if __name__ == "__main__":
    if sys.argv[1:] == [SERIAL]:
        serial_script()
    else:
        main(int(sys.argv[1]) if sys.argv[1:] else 3)
