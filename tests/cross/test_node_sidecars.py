# SPDX-License-Identifier: Apache-2.0
"""Init containers that go on running start in order, stay, and end last; probes say when a container is up, ready and alive."""

from pathlib import Path
from typing import Any

from node_world import NodeWorld
from podpass.sandbox.cluster_client import Object
from pods import SH

ROOM: dict[str, Any] = {"volumeMounts": [{"name": "room", "mountPath": "/podpass-test"}]}
VOLUMES = [{"name": "room", "emptyDir": {}}]
# Says what happens to it, in a file that outlives it.
STAYS = "echo {0} starts >> /podpass-test/order; trap 'echo {0} ends >> /podpass-test/order; exit 0' TERM; while :; do sleep 0.02; done"


def sidecar(name: str, script: str = "", **more: object) -> Object:
    return {"name": name, "image": SH, "args": [script or STAYS.format(name)], "restartPolicy": "Always", **ROOM, **more}


def exec_probe(script: str, **more: int) -> Object:
    return {"exec": {"command": ["sh", "-c", script]}, "periodSeconds": 1, "timeoutSeconds": 20, "failureThreshold": 20, **more}


def status_of(world: NodeWorld, pod: str, container: str) -> Object:
    status = world.pod(pod)["status"]
    every = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return next((entry for entry in every if entry["name"] == container), {"state": {}})


def ready_column(world: NodeWorld, name: str) -> list[str]:
    """Return what kubectl prints of a pod: READY and STATUS."""
    headers = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    found = world.run(world.client._http.get(f"/api/v1/namespaces/default/pods/{name}", headers=headers)).json()
    return [str(cell) for cell in found["rows"][0]["cells"][1:3]]


def test_sidecars_start_in_order_stay_and_end_in_reverse(node_world: NodeWorld) -> None:
    init = [sidecar("one"), {"name": "between", "image": SH, "args": ["echo between >> /podpass-test/order"], **ROOM}, sidecar("two")]
    script = (
        "until grep -q 'two starts' /podpass-test/order; do sleep 0.02; done; echo main >> /podpass-test/order; cat /podpass-test/order"
    )
    last = sidecar("zero", "trap 'sleep 0.3; cat /podpass-test/order; exit 0' TERM; while :; do sleep 0.02; done")
    node_world.make_pod("ordered", script, container=ROOM, initContainers=[last, *init], volumes=VOLUMES)
    assert node_world.output("ordered").split("\n")[-3:-1] == ["two starts", "main"]
    said = node_world.log("ordered", container="zero").splitlines()
    assert said[:2] == ["one starts", "between"] or said[:2] == ["between", "one starts"]
    assert said[-3:] == ["main", "two ends", "one ends"]


def test_job_with_a_sidecar_completes(node_world: NodeWorld) -> None:
    spec = {
        "initContainers": [sidecar("helper", "trap 'exit 3' TERM; while :; do sleep 0.02; done")],
        "containers": [{"name": "main", "image": SH, "args": ["echo done"]}],
        "restartPolicy": "Never",
        "volumes": VOLUMES,
    }
    node_world.make("jobs", "with-sidecar", spec={"template": {"metadata": {"labels": {"app": "sidecar-job"}}, "spec": spec}})
    path = "/apis/batch/v1/namespaces/default/jobs/with-sidecar"
    job = node_world.until(lambda: node_world.run(node_world.client.get(path)), lambda job: job["status"].get("completionTime"))
    assert job["status"]["succeeded"] == 1
    (pod,) = node_world.run(node_world.client.get("/api/v1/namespaces/default/pods", labelSelector="app=sidecar-job"))["items"]
    (status,) = pod["status"]["initContainerStatuses"]
    # That it did not end well does not count.
    assert (pod["status"]["phase"], status["state"]["terminated"]["exitCode"]) == ("Succeeded", 3)


def told(file: Path) -> str:
    """Have a pod wait for a word of the test; it sees the machine's files."""
    return f"until test -e {file}; do sleep 0.05; done"


def test_nothing_runs_before_the_startup_probe_of_a_sidecar_has_succeeded(node_world: NodeWorld, tmp_path: Path) -> None:
    slow = sidecar(
        "slow", f"{told(tmp_path / 'go')}; touch /podpass-test/up; sleep 60", startupProbe=exec_probe("test -e /podpass-test/up")
    )
    node_world.make_pod("gated", "ls /podpass-test; sleep 60", container=ROOM, initContainers=[slow], volumes=VOLUMES)
    waits = node_world.until(lambda: status_of(node_world, "gated", "slow"), lambda status: "running" in status["state"])
    assert (waits["started"], waits["ready"]) == (False, False)
    assert node_world.pod("gated")["status"]["phase"] == "Pending"
    assert ready_column(node_world, "gated") == ["0/2", "Init:0/1"]
    (tmp_path / "go").touch()
    node_world.until(lambda: node_world.log_or_nothing("gated"), lambda said: said == "up\n")
    node_world.until(lambda: ready_column(node_world, "gated"), lambda row: row == ["2/2", "Running"])
    up = status_of(node_world, "gated", "slow")
    assert (up["started"], up["ready"]) == (True, True)
    conditions = {row["type"]: row["status"] for row in node_world.pod("gated")["status"]["conditions"]}
    assert (conditions["Initialized"], conditions["Ready"]) == ("True", "True")
    node_world.delete_pod("gated", 0)


def test_sidecar_that_ends_is_started_again_also_in_a_pod_that_is_never_restarted(node_world: NodeWorld) -> None:
    node_world.make_pod("restarts", "sleep 60", initContainers=[sidecar("short", "sleep 0.2; exit 1")], volumes=VOLUMES)
    node_world.until(lambda: status_of(node_world, "restarts", "short"), lambda status: status.get("restartCount", 0) >= 2)
    node_world.until(lambda: node_world.pod("restarts")["status"]["phase"], lambda phase: phase == "Running")
    assert status_of(node_world, "restarts", "main").get("restartCount") == 0
    node_world.delete_pod("restarts", 0)


def test_sidecar_whose_startup_probe_never_succeeds_is_started_again(node_world: NodeWorld) -> None:
    never = sidecar("never", "sleep 60", startupProbe=exec_probe("echo not yet; false", failureThreshold=1))
    node_world.make_pod("hopeless", "true", initContainers=[never], volumes=VOLUMES, terminationGracePeriodSeconds=1)
    node_world.until(lambda: status_of(node_world, "hopeless", "never"), lambda status: status.get("restartCount", 0) >= 1)
    events = node_world.events("hopeless")
    assert events["Unhealthy"] == "Startup probe failed: command ended with 1: not yet"
    assert events["Killing"] == "Container never failed startup probe, will be restarted"
    assert node_world.pod("hopeless")["status"]["phase"] == "Pending"
    node_world.delete_pod("hopeless", 0)


def test_failed_init_container_ends_the_sidecars_before_it(node_world: NodeWorld) -> None:
    init = [sidecar("helper"), {"name": "bad", "image": SH, "args": ["exit 7"]}]
    node_world.make_pod("bad-init", "echo never", initContainers=init, volumes=VOLUMES)
    assert node_world.ended("bad-init")["status"]["phase"] == "Failed"
    assert "terminated" in status_of(node_world, "bad-init", "helper")["state"]


def test_deleted_pods_sidecar_outlives_its_other_containers(node_world: NodeWorld) -> None:
    init = [sidecar("helper", "trap 'cat /podpass-test/order; exit 0' TERM; echo up; while :; do sleep 0.02; done")]
    main = "trap 'sleep 0.3; echo main ends > /podpass-test/order; exit 0' TERM; echo up; while :; do sleep 0.02; done"
    node_world.make_pod("leaves", main, container=ROOM, initContainers=init, volumes=VOLUMES)
    node_world.until(lambda: node_world.log_or_nothing("leaves"), lambda said: said == "up\n")
    follower = node_world.follow("leaves", container="helper")
    node_world.delete_pod("leaves")
    assert follower() == "up\nmain ends\n"
    node_world.until(lambda: node_world.is_gone("leaves"), bool)


SERVER = (
    "exec python3 -c \"import http.server, os; os.chdir('/podpass-test')\n"
    "http.server.ThreadingHTTPServer(('0.0.0.0', 8080), http.server.SimpleHTTPRequestHandler).serve_forever()\""
)


def test_probes_over_http_and_tcp_reach_the_pods_network(node_world: NodeWorld, tmp_path: Path) -> None:
    """Ready while the page is there; alive as long as the port answers."""
    patient = {"periodSeconds": 1, "timeoutSeconds": 20}
    get: Object = {"httpGet": {"path": "/page", "port": "web"}, "failureThreshold": 1, **patient}
    container = {
        "ports": [{"name": "web", "containerPort": 8080}],
        "startupProbe": {"tcpSocket": {"port": 8080}, "failureThreshold": 20, **patient},
        "readinessProbe": get,
        "livenessProbe": {"tcpSocket": {"port": "web"}, **patient},
        **ROOM,
    }
    beside = {
        "name": "beside",
        "image": SH,
        "args": [f"{told(tmp_path / 'come')}; touch /podpass-test/page; {told(tmp_path / 'go')}; rm /podpass-test/page; sleep 60"],
        **ROOM,
    }
    main = {"name": "main", "image": SH, "args": [SERVER], **container}
    node_world.make_pod("probed", "", containers=[main, beside], volumes=VOLUMES)
    node_world.until(lambda: status_of(node_world, "probed", "main"), lambda status: status.get("started") and not status["ready"])
    (tmp_path / "come").touch()
    node_world.until(lambda: status_of(node_world, "probed", "main"), lambda status: status["ready"])
    (tmp_path / "go").touch()
    node_world.until(lambda: status_of(node_world, "probed", "main"), lambda status: not status["ready"])
    assert node_world.events("probed")["Unhealthy"] == "Readiness probe failed: HTTP probe failed with statuscode: 404"
    assert status_of(node_world, "probed", "main")["restartCount"] == 0
    node_world.delete_pod("probed", 0)


def test_container_that_is_no_longer_alive_is_started_again(node_world: NodeWorld) -> None:
    alive = exec_probe("test ! -e /podpass-test/dead", failureThreshold=1)
    script = "if [ -e /podpass-test/dead ]; then rm /podpass-test/dead; else sleep 0.2; touch /podpass-test/dead; fi; exec sleep 60"
    node_world.make_pod("revived", script, container={"livenessProbe": alive, **ROOM}, volumes=VOLUMES, restartPolicy="Always")
    node_world.until(lambda: status_of(node_world, "revived", "main"), lambda status: status.get("restartCount") == 1)
    assert node_world.events("revived")["Killing"] == "Container main failed liveness probe, will be restarted"
    node_world.delete_pod("revived", 0)


def test_probe_over_grpc_fails_with_its_reason(node_world: NodeWorld) -> None:
    node_world.make_pod("grpc", "sleep 60", container={"readinessProbe": {"grpc": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1}})
    message = node_world.until(lambda: node_world.events("grpc").get("Unhealthy", ""), bool)
    assert "exec, httpGet and tcpSocket" in message
    assert not status_of(node_world, "grpc", "main")["ready"]
    node_world.delete_pod("grpc", 0)
