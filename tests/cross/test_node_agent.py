# SPDX-License-Identifier: Apache-2.0
"""The node agent runs pods for any API server as a kubelet would."""

import base64
import json
from datetime import timedelta
from typing import Any

import httpx2
import jwt
import pytest

from node_world import NodeWorld
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.cluster_client import StatusError
from pods import SH

AUDIENCE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
TOKENS = "/var/run/secrets/tokens/gcp-ksa"
TOKEN_VOLUME = {
    "name": "token",
    "projected": {"sources": [{"serviceAccountToken": {"path": "token", "audience": AUDIENCE, "expirationSeconds": 600}}]},
}
TOKEN_MOUNT = {"name": "token", "mountPath": TOKENS}


def terminated(pod: dict[str, Any]) -> dict[str, Any]:
    state: dict[str, Any] = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    return state


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def test_pod_reads_its_token_at_the_path_of_its_mount(node_world: NodeWorld) -> None:
    node_world.make_pod("token", f"cat {TOKENS}/token", container={"volumeMounts": [TOKEN_MOUNT]}, volumes=[TOKEN_VOLUME])
    claims = claims_of(node_world.output("token"))
    pod = node_world.pod("token")
    assert claims["aud"] == [AUDIENCE]
    assert claims["sub"] == "system:serviceaccount:default:default"
    assert claims["iss"] == node_world.cluster.issuers[0]
    assert claims["kubernetes.io"]["pod"] == {"name": "token", "uid": pod["metadata"]["uid"]}
    assert claims["exp"] - claims["iat"] == 600


def test_job_completes_with_the_words_of_its_pod(node_world: NodeWorld) -> None:
    node_world.make("configmaps", "sts-config", data={"config": '{"type": "external_account"}'})
    container = {
        "name": "main",
        "image": SH,
        "args": ["cat /etc/sts/config"],
        "volumeMounts": [{"name": "config", "mountPath": "/etc/sts"}],
    }
    spec = {"containers": [container], "restartPolicy": "Never", "volumes": [{"name": "config", "configMap": {"name": "sts-config"}}]}
    node_world.make("jobs", "wif-demo", spec={"template": {"metadata": {"labels": {"app": "wif-demo"}}, "spec": spec}})
    path = "/apis/batch/v1/namespaces/default/jobs/wif-demo"
    job = node_world.until(lambda: node_world.run(node_world.client.get(path)), lambda job: job["status"].get("succeeded"))
    assert {"Complete"} <= {condition["type"] for condition in job["status"]["conditions"] if condition["status"] == "True"}
    pods = node_world.run(node_world.client.get("/api/v1/namespaces/default/pods", labelSelector="app=wif-demo"))["items"]
    assert node_world.log(pods[0]["metadata"]["name"]) == '{"type": "external_account"}'


def test_variables_come_from_everywhere_and_expand(node_world: NodeWorld) -> None:
    node_world.make("configmaps", "colours", data={"sky": "blue", "grass": "green"})
    node_world.make("secrets", "hidden", data={"word": base64.b64encode(b"hush").decode()})
    container = {
        "envFrom": [{"prefix": "C_", "configMapRef": {"name": "colours"}}, {"secretRef": {"name": "none", "optional": True}}],
        "env": [
            {"name": "SKY", "valueFrom": {"configMapKeyRef": {"name": "colours", "key": "sky"}}},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "word"}}},
            {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "hidden", "key": "other", "optional": True}}},
            {"name": "WHERE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "BOTH", "value": "$(SKY) and $(C_grass), $(NOBODY), $$(SKY)"},
        ],
        "args": ['echo "$SKY|$WORD|${ABSENT-unset}|$WHERE|$LABEL|$BOTH|$FROM_IMAGE|$FROM_NODE|$(WORD)"'],
    }
    node_world.make_pod("variables", "", container=container, metadata={"labels": {"app": "words"}})
    assert node_world.output("variables") == "blue|hush|unset|default|words|blue and green, $(NOBODY), $(SKY)|yes|yes|hush\n"


def test_every_kind_of_volume_is_laid(node_world: NodeWorld) -> None:
    node_world.make("configmaps", "files", data={"a": "one", "b": "two"})
    node_world.make("secrets", "keys", data={"k": base64.b64encode(b"secret").decode()})
    volumes: list[dict[str, Any]] = [
        {"name": "config", "configMap": {"name": "files", "items": [{"key": "b", "path": "deep/er/b.txt", "mode": 0o400}]}},
        {"name": "secret", "secret": {"secretName": "keys", "defaultMode": 0o440}},
        {"name": "fields", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "room", "emptyDir": {}},
        {
            "name": "all",
            "projected": {
                "sources": [
                    {"configMap": {"name": "files"}},
                    {"secret": {"name": "keys"}},
                    {"configMap": {"name": "none", "optional": True}},
                    {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                ]
            },
        },
    ]
    mounts = [{"name": volume["name"], "mountPath": f"/podpass-test/{volume['name']}"} for volume in volumes]
    mounts.append({"name": "config", "mountPath": "/podpass-test/one.txt", "subPath": "deep/er/b.txt"})
    script = (
        "cd /podpass-test; cat config/deep/er/b.txt secret/k; stat -L -c %a config/deep/er/b.txt secret/k; cat fields/labels; echo;"
        "echo written > room/new; cat room/new; ls all; cat all/name one.txt; echo no > config/new || echo read-only"
    )
    node_world.make_pod("volumes", script, container={"volumeMounts": mounts}, metadata={"labels": {"x": "y", "a": "b"}}, volumes=volumes)
    *_, last = (said := node_world.output("volumes")).splitlines()
    assert said.startswith('twosecret400\n440\na="b"\nx="y"\nwritten\na\nb\nk\nname\nvolumestwo')
    assert last == "read-only"


def test_default_token_volume_is_that_of_every_kubelet(node_world: NodeWorld) -> None:
    node_world.make_pod("access", "cd /var/run/secrets/kubernetes.io/serviceaccount && ls && cat namespace && echo && head -1 ca.crt")
    assert node_world.output("access") == "ca.crt\nnamespace\ntoken\ndefault\n-----BEGIN CERTIFICATE-----\n"


def test_changed_config_map_reaches_the_running_pod(node_world: NodeWorld) -> None:
    node_world.make("configmaps", "changing", data={"word": "old", "gone": "x"})
    node_world.make_pod(
        "watcher",
        # As kubelet does it, a key that has gone is still listed for a moment, and leads nowhere.
        "cd /podpass-test; cat word; echo; until grep -q new word; do sleep 0.05; done; while [ -L gone ]; do sleep 0.05; done; ls",
        container={"volumeMounts": [{"name": "c", "mountPath": "/podpass-test"}]},
        volumes=[{"name": "c", "configMap": {"name": "changing"}}],
    )
    node_world.until(lambda: node_world.log_or_nothing("watcher"), lambda said: said == "old\n")
    node_world.run(node_world.client.patch("/api/v1/namespaces/default/configmaps/changing", {"data": {"word": "new", "gone": None}}))
    assert node_world.output("watcher") == "old\nword\n"


def test_token_is_renewed_at_four_fifths_of_its_life(node_world: NodeWorld) -> None:
    script = f"first=$(cat {TOKENS}/token); echo $first; until [ $first != $(cat {TOKENS}/token) ]; do sleep 0.05; done; cat {TOKENS}/token"
    node_world.make_pod("renewal", script, container={"volumeMounts": [TOKEN_MOUNT]}, volumes=[TOKEN_VOLUME])
    node_world.until(lambda: node_world.pod("renewal")["status"]["phase"], lambda phase: phase == "Running")
    node_world.clock.shift += timedelta(seconds=470)
    assert "\n" in node_world.until(lambda: node_world.log("renewal"), lambda said: "\n" in said)
    assert node_world.pod("renewal")["status"]["phase"] == "Running"
    node_world.clock.shift += timedelta(seconds=15)
    first, second = (claims_of(token) for token in node_world.output("renewal").splitlines())
    assert first["jti"] != second["jti"]
    assert first["kubernetes.io"] | {"warnafter": 0} == second["kubernetes.io"] | {"warnafter": 0}


def test_other_issuer_and_key_are_in_the_next_pods_token(node_world: NodeWorld) -> None:
    before = list(node_world.cluster.issuers)
    node_world.make_pod("stays", "sleep 60")
    node_world.until(lambda: node_world.pod("stays")["status"]["phase"], lambda phase: phase == "Running")
    moved = "https://storage.googleapis.com/demo-oidc"
    node_world.run(node_world.cluster.restart(IssuerChange(issuer=moved, new_key="rsa2048")))
    node_world.make_pod("moved", f"cat {TOKENS}/token", container={"volumeMounts": [TOKEN_MOUNT]}, volumes=[TOKEN_VOLUME])
    token = node_world.output("moved")
    assert claims_of(token)["iss"] == moved
    published = json.loads(node_world.run(node_world.client.text("/openid/v1/jwks")))["keys"]
    header = jwt.get_unverified_header(token)
    assert set(header) == {"alg", "kid"}
    assert {key["alg"] for key in published if key["kid"] == header["kid"]} == {"RS256"}
    assert len(published) == 2
    assert node_world.cluster.issuers == [moved, *before]
    assert node_world.pod("stays")["status"]["phase"] == "Running"
    node_world.delete_pod("stays", 0)


def test_init_containers_run_in_order_before_the_others(node_world: NodeWorld) -> None:
    mount = {"volumeMounts": [{"name": "room", "mountPath": "/podpass-test"}]}
    init = [{"name": name, "image": SH, "args": [f"echo {name} >> /podpass-test/order"], **mount} for name in ("one", "two")]
    node_world.make_pod("init", "cat /podpass-test/order", container=mount, initContainers=init, volumes=[{"name": "room", "emptyDir": {}}])
    assert node_world.output("init") == "one\ntwo\n"
    statuses = node_world.pod("init")["status"]["initContainerStatuses"]
    assert [(status["name"], status["ready"]) for status in statuses] == [("one", True), ("two", True)]


def test_failed_init_container_fails_a_pod_that_is_never_restarted(node_world: NodeWorld) -> None:
    node_world.make_pod("init-fails", "echo never", initContainers=[{"name": "bad", "image": SH, "args": ["exit 7"]}])
    pod = node_world.ended("init-fails")
    assert pod["status"]["phase"] == "Failed"
    assert pod["status"]["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


@pytest.mark.parametrize(
    ("script", "code", "reason"), [("exit 0", 0, "Completed"), ("exit 3", 3, "Error"), ("kill -9 $$$$", 137, "Error")], ids=str
)
def test_exit_code_is_told(node_world: NodeWorld, script: str, code: int, reason: str) -> None:
    node_world.make_pod(f"exit-{code}", script)
    state = terminated(node_world.ended(f"exit-{code}"))
    assert (state["exitCode"], state["reason"]) == (code, reason)


def test_failing_container_is_restarted_until_it_succeeds(node_world: NodeWorld) -> None:
    room = {"volumeMounts": [{"name": "room", "mountPath": "/podpass-test"}]}
    script = "echo run; echo >> /podpass-test/n; [ $(wc -l < /podpass-test/n) -ge 3 ]"
    node_world.make_pod("flaky", script, container=room, restartPolicy="OnFailure", volumes=[{"name": "room", "emptyDir": {}}])
    pod = node_world.ended("flaky")
    status = pod["status"]["containerStatuses"][0]
    assert (pod["status"]["phase"], status["restartCount"]) == ("Succeeded", 2)
    assert status["lastState"]["terminated"]["exitCode"] == 1
    assert node_world.log("flaky", previous="true") == "run\n"
    assert "back-off" in node_world.events("flaky")["BackOff"]


def test_command_replaces_the_images_own(node_world: NodeWorld) -> None:
    container = {"command": ["printf", "%s-%s"], "args": ["$(A)", "b"], "env": [{"name": "A", "value": "a"}], "workingDir": "/usr"}
    node_world.make_pod("command", "", container=container)
    assert node_world.output("command") == "a-b"


def test_unknown_command_says_so(node_world: NodeWorld) -> None:
    node_world.make_pod("no-command", "", container={"command": ["no-such-program"]})
    state = terminated(node_world.ended("no-command"))
    assert (state["exitCode"], state["reason"]) == (128, "StartError")
    assert "'no-such-program'" in state["message"]


def test_unknown_image_waits_and_says_so(node_world: NodeWorld) -> None:
    node_world.make_pod("no-image", "", container={"image": "example.com/unknown:1"})
    waiting = node_world.until(
        lambda: node_world.pod("no-image")["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}),
        lambda waiting: waiting.get("reason") == "ImagePullBackOff",
    )
    assert waiting["message"] == 'Back-off pulling image "example.com/unknown:1"'
    assert "example.com/unknown:1" in node_world.events("no-image")["Failed"]
    with pytest.raises(StatusError, match="is waiting to start"):
        node_world.log("no-image")
    node_world.delete_pod("no-image")
    assert node_world.until(lambda: node_world.is_gone("no-image"), bool)


def test_missing_config_map_is_waited_for(node_world: NodeWorld) -> None:
    volumes = [{"name": "c", "configMap": {"name": "comes-later"}}]
    container = {"volumeMounts": [{"name": "c", "mountPath": "/podpass-test"}]}
    node_world.make_pod("waits", "cat /podpass-test/word", container=container, volumes=volumes)
    message = node_world.until(lambda: node_world.events("waits").get("FailedMount"), bool)
    assert message == 'MountVolume.SetUp failed for volume "c" : configmap "comes-later" not found'
    assert node_world.pod("waits")["status"]["phase"] == "Pending"
    node_world.make("configmaps", "comes-later", data={"word": "here"})
    assert node_world.output("waits") == "here"


def test_missing_key_of_a_variable_is_a_config_error(node_world: NodeWorld) -> None:
    node_world.make("configmaps", "no-key", data={"other": "x"})
    env = [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "no-key", "key": "wanted"}}}]
    node_world.make_pod("bad-variable", "echo $X", container={"env": env})
    waiting = node_world.until(
        lambda: node_world.pod("bad-variable")["status"].get("containerStatuses", [{}])[0].get("state", {}).get("waiting", {}),
        lambda waiting: waiting.get("reason") == "CreateContainerConfigError",
    )
    assert waiting["message"] == "couldn't find key wanted in ConfigMap default/no-key"
    node_world.run(node_world.client.patch("/api/v1/namespaces/default/configmaps/no-key", {"data": {"wanted": "now"}}))
    assert node_world.output("bad-variable") == "now\n"


def test_deleted_pod_may_say_goodbye_within_its_grace_period(node_world: NodeWorld) -> None:
    room = {"volumeMounts": [{"name": "room", "mountPath": "/podpass-test"}]}
    volumes = [{"name": "room", "emptyDir": {}}]
    node_world.make_pod("polite", "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done", container=room, volumes=volumes)
    node_world.until(lambda: node_world.log_or_nothing("polite"), lambda said: said == "up\n")
    follower = node_world.follow("polite")
    node_world.delete_pod("polite")
    assert node_world.until(lambda: node_world.is_gone("polite"), bool)
    assert follower() == "up\nbye\n"
    assert node_world.events("polite")["Killing"] == "Stopping container main"


def test_deaf_pod_is_killed_after_its_grace_period(node_world: NodeWorld) -> None:
    node_world.make_pod("deaf", "trap '' TERM; echo up; while :; do sleep 0.05; done", terminationGracePeriodSeconds=1)
    node_world.until(lambda: node_world.log_or_nothing("deaf"), lambda said: said == "up\n")
    node_world.delete_pod("deaf")
    assert node_world.pod("deaf")["metadata"]["deletionGracePeriodSeconds"] == 1
    assert node_world.until(lambda: node_world.is_gone("deaf"), bool)


def test_log_can_be_asked_for_in_parts(node_world: NodeWorld) -> None:
    node_world.make_pod("talks", "for i in 1 2 3 4 5; do echo line $i; done; echo error >&2")
    assert node_world.output("talks") == "line 1\nline 2\nline 3\nline 4\nline 5\nerror\n"
    assert node_world.log("talks", tailLines="2") == "line 5\nerror\n"
    assert node_world.log("talks", limitBytes="8") == "line 1\nl"
    moment, _, line = node_world.log("talks", tailLines="1", timestamps="true").partition(" ")
    assert line == "error\n"
    assert moment.endswith("Z")


def test_two_pods_at_one_path_see_their_own_files_only(node_world: NodeWorld) -> None:
    for name in ("mine", "yours"):
        node_world.make("configmaps", name, data={"word": name})
        node_world.make_pod(
            name,
            f"cat /podpass-test/word; ls {node_world.directory}/node/pods | wc -l",
            container={"volumeMounts": [{"name": "c", "mountPath": "/podpass-test"}]},
            volumes=[{"name": "c", "configMap": {"name": name}}],
        )
    # Of the node agent's own directory each sees its home only.
    assert [node_world.output(name) for name in ("mine", "yours")] == ["mine1\n", "yours1\n"]


def test_pod_of_a_node_agent_that_went_away_is_lost_or_started_again(node_world: NodeWorld) -> None:
    node_world.make_pod("once", "sleep 60")
    node_world.make_pod("always", "echo up; sleep 60", restartPolicy="Always")
    for name in ("once", "always"):
        node_world.until(lambda name=name: node_world.pod(name)["status"]["phase"], lambda phase: phase == "Running")  # type: ignore[misc]
    node_world.restart_agent()
    pod = node_world.ended("once")
    assert (pod["status"]["phase"], terminated(pod)["reason"]) == ("Failed", "ContainerStatusUnknown")
    again = node_world.until(lambda: node_world.pod("always")["status"]["containerStatuses"][0], lambda status: status["restartCount"] == 1)
    assert again["lastState"]["terminated"]["exitCode"] == 137
    status = node_world.pod("always")["status"]
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    node_world.delete_pod("always", 0)


def test_logs_are_for_the_api_server_alone(node_world: NodeWorld) -> None:
    node_world.make_pod("private", "echo secret")
    assert node_world.output("private") == "secret\n"
    node = node_world.run(node_world.client.get("/api/v1/nodes/podpass-node"))
    url = f"https://127.0.0.1:{node['status']['daemonEndpoints']['kubeletEndpoint']['Port']}/containerLogs/default/private/main"
    with pytest.raises(httpx2.HTTPError), httpx2.Client(verify=False, trust_env=False) as stranger:
        stranger.get(url)


def test_node_is_ready_and_holds_its_lease(node_world: NodeWorld) -> None:
    node = node_world.run(node_world.client.get("/api/v1/nodes/podpass-node"))
    assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
    path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/podpass-node"
    lease = node_world.run(node_world.client.get(path))
    assert (lease["spec"]["holderIdentity"], lease["spec"]["leaseDurationSeconds"]) == ("podpass-node", 40)
