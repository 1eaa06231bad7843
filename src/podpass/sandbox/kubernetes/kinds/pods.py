# SPDX-License-Identifier: Apache-2.0
"""Pods: the defaults that a spec gets, what may not be in it, and what admission adds."""

import secrets
from datetime import datetime
from typing import Final

from lightkube.models.core_v1 import Pod

from podpass.sandbox.kubernetes.kind import AGE, NAME, STATUS, Column, Json, Kind, Reader, check_label
from podpass.sandbox.kubernetes.kinds.service_accounts import SERVICE_ACCOUNT
from podpass.sandbox.kubernetes.status import Cause, StatusError, forbidden, forbidden_value, required, unsupported_value

TOKEN_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
# ServiceAccount admission asks for this life; the issuer then makes the token good for longer and writes `warnafter`.
TOKEN_LIFE_S: Final = 3607

_POD_DEFAULTS: Final[Json] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
# What admission adds to a pod, and to no template: Priority and DefaultTolerationSeconds.
_ADMITTED: Final[Json] = {"preemptionPolicy": "PreemptLowerPriority", "priority": 0}
_CONTAINER_DEFAULTS: Final[Json] = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
_MODE: Final = 0o644
_POLICIES: Final = ("Always", "Never", "OnFailure")
_TOLERATED_S: Final = 300


def containers_of(spec: Json) -> list[Json]:
    """Return the containers of a pod, those for its start first."""
    return [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]


def default_pod_spec(spec: Json) -> None:
    """Fill in what a pod spec leaves open, in a pod or a template."""
    for name, value in _POD_DEFAULTS.items():
        spec.setdefault(name, dict(value) if isinstance(value, dict) else value)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for container in containers_of(spec):
        _default_container(container)
        for port in container.get("ports") or () if spec.get("hostNetwork") else ():
            port.setdefault("hostPort", port["containerPort"])
    for volume in spec.get("volumes") or ():
        _default_volume(volume)


def _default_container(container: Json) -> None:
    for name, value in _CONTAINER_DEFAULTS.items():
        container.setdefault(name, dict(value) if isinstance(value, dict) else value)
    image = container.get("image", "")
    tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
    fixed = "@" in image or tag not in {"", "latest"}
    container.setdefault("imagePullPolicy", "IfNotPresent" if fixed else "Always")
    for port in container.get("ports") or ():
        port.setdefault("protocol", "TCP")
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference:
            reference.setdefault("apiVersion", "v1")


def _default_volume(volume: Json) -> None:
    if not volume.keys() - {"name"}:
        volume["emptyDir"] = {}
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        if name in volume:
            volume[name].setdefault("defaultMode", _MODE)
    sources = (volume.get("projected") or {}).get("sources") or ()
    for token in (source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source):
        token.setdefault("expirationSeconds", 3600)
    for source in [*sources, volume]:
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            if "fieldRef" in item:
                item["fieldRef"].setdefault("apiVersion", "v1")


def check_pod_spec(spec: Json, path: str) -> list[Cause]:
    """Name what the schema alone does not see."""
    causes = []
    if not spec.get("containers"):
        causes.append(required(f"{path}.containers"))
    for index, volume in enumerate(spec.get("volumes") or ()):
        causes += check_label(f"{path}.volumes[{index}].name", volume["name"])
    volumes = {volume["name"] for volume in spec.get("volumes") or ()}
    for place in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(place) or ()):
            here = f"{path}.{place}[{index}]"
            causes += _check_container(container, here, volumes)
            causes += _check_probes(container, here) if place == "initContainers" else []
    causes += _check_names(spec, path)
    policy = spec.get("restartPolicy")
    if policy not in _POLICIES:
        causes.append(unsupported_value(f"{path}.restartPolicy", str(policy), _POLICIES))
    return causes + _check_tokens(spec, path)


def _check_container(container: Json, path: str, volumes: set[str]) -> list[Cause]:
    causes = check_label(f"{path}.name", container["name"])
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    for mount, row in enumerate(container.get("volumeMounts") or ()):
        if row["name"] not in volumes:
            causes.append(Cause(f"{path}.volumeMounts[{mount}].name", f'Not found: "{row["name"]}"', "FieldValueNotFound"))
    return causes + _check_restarts(container, path)


def _check_names(spec: Json, path: str) -> list[Cause]:
    """Name the containers that are called as one before them."""
    names = [container["name"] for container in containers_of(spec)]
    return [
        Cause(f"{path}.containers[{index}].name", f'Duplicate value: "{name}"', "FieldValueDuplicate")
        for index, name in enumerate(names)
        if name in names[:index]
    ]


def _check_restarts(container: Json, path: str) -> list[Cause]:
    """Name what is wrong with a container's own restart policy, by which an init container becomes a sidecar."""
    policy = container.get("restartPolicy")
    return [] if policy in {None, *_POLICIES} else [unsupported_value(f"{path}.restartPolicy", str(policy), _POLICIES)]


def _check_probes(container: Json, path: str) -> list[Cause]:
    """Name the probes of an init container that is no sidecar."""
    probes = [name for name in ("livenessProbe", "readinessProbe", "startupProbe") if container.get(name)]
    stays = container.get("restartPolicy") == "Always"
    why = "may not be set for init containers without restartPolicy=Always"
    return [] if stays else [forbidden_value(f"{path}.{name}", why) for name in probes]


def _check_tokens(spec: Json, path: str) -> list[Cause]:
    causes = []
    for index, volume in enumerate(spec.get("volumes") or ()):
        for place, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            token = source.get("serviceAccountToken")
            field = f"{path}.volumes[{index}].projected.sources[{place}].serviceAccountToken.expirationSeconds"
            if token and token["expirationSeconds"] < 600:  # noqa: PLR2004 - Kubernetes: 10 minutes
                sentence = f"Invalid value: {token['expirationSeconds']}: may not specify a duration less than 10 minutes"
                causes.append(Cause(field, sentence))
    return causes


def _default(pod: Json) -> None:
    spec = pod.setdefault("spec", {})
    spec.setdefault("enableServiceLinks", True)
    default_pod_spec(spec)


def _start(pod: Json) -> None:
    # A best-effort pod is the only quality of service without a kubelet's accounting.
    pod["status"] = {"phase": "Pending", "qosClass": "BestEffort"}


def _check(pod: Json, old: Json | None) -> list[Cause]:
    causes = check_pod_spec(pod["spec"], "spec")
    if old is not None and _fixed(pod["spec"]) != _fixed(old["spec"]):
        rule = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
        rest = (
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds`"
        )
        causes.append(forbidden_value("spec", f"{rule}{rest} (allow it to be set to 1 if it was previously negative)"))
    return causes


def _fixed(spec: Json) -> Json:
    """Return what of a pod's spec never changes."""
    free = {"activeDeadlineSeconds", "tolerations"}
    lists = {
        place: [{name: value for name, value in container.items() if name != "image"} for container in spec.get(place) or ()]
        for place in ("containers", "initContainers")
    }
    return {name: value for name, value in spec.items() if name not in free} | lists


def _admit(reader: Reader, pod: Json) -> None:
    """Do what ServiceAccount, Priority and DefaultTolerationSeconds admission do."""
    spec, metadata = pod["spec"], pod["metadata"]
    name = spec.setdefault("serviceAccountName", "default") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    try:
        account = reader.get(SERVICE_ACCOUNT, metadata["namespace"], name)
    except StatusError as error:
        why = f'error looking up service account {metadata["namespace"]}/{name}: serviceaccount "{name}" not found'
        raise forbidden("pods", "", metadata.get("name", ""), why) from error
    for field, value in _ADMITTED.items():
        spec.setdefault(field, value)
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(row.get("key") in {key, None} for row in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _TOLERATED_S})
    if account.get("imagePullSecrets") and not spec.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    if spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken", True)):
        _add_token(spec)


def _add_token(spec: Json) -> None:
    """Mount the API server's own token, certificate and namespace where nothing else is mounted."""
    without = [row for row in containers_of(spec) if all(mount["mountPath"] != TOKEN_MOUNT for mount in row.get("volumeMounts") or ())]
    if not without:
        return
    volume = "kube-api-access-" + "".join(secrets.choice("bcdfghjklmnpqrstvwxz2456789") for _ in range(5))
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFE_S, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    spec.setdefault("volumes", []).append({"name": volume, "projected": {"defaultMode": _MODE, "sources": sources}})
    for container in without:
        container.setdefault("volumeMounts", []).append({"name": volume, "readOnly": True, "mountPath": TOKEN_MOUNT})


def _statuses(pod: Json) -> list[Json]:
    return (pod.get("status") or {}).get("containerStatuses") or []


def _sidecars(pod: Json) -> list[Json]:
    """Return the statuses of the init containers that go on running; they count as the others do."""
    names = {row["name"] for row in pod["spec"].get("initContainers") or () if row.get("restartPolicy") == "Always"}
    return [row for row in (pod.get("status") or {}).get("initContainerStatuses") or () if row["name"] in names]


def _ready(pod: Json, _: datetime) -> str:
    sidecars = sum(row.get("restartPolicy") == "Always" for row in pod["spec"].get("initContainers") or ())
    ready = sum(bool(row.get("ready")) for row in (*_statuses(pod), *_sidecars(pod)))
    return f"{ready}/{len(pod['spec']['containers']) + sidecars}"


def _starting(pod: Json) -> str:
    """Say how far the init containers are (kubectl: pkg/printers/internalversion, printPod); nothing once they are through."""
    started = {row["name"] for row in _sidecars(pod) if row.get("started")}
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    for index, row in enumerate(statuses):
        state = row.get("state") or {}
        ended, waits = state.get("terminated") or {}, (state.get("waiting") or {}).get("reason", "PodInitializing")
        if row["name"] in started or ended.get("exitCode") == 0:
            continue
        if ended:
            return f"Init:{ended.get('reason') or 'ExitCode:' + str(ended['exitCode'])}"
        return f"Init:{index}/{len(statuses)}" if waits == "PodInitializing" else f"Init:{waits}"
    return ""


def _phase(pod: Json, _: datetime) -> str:
    """Say the most telling thing about a pod: the reason of a container, else the phase."""
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = pod.get("status") or {}
    through = any((row["type"], row["status"]) == ("Initialized", "True") for row in status.get("conditions") or ())
    if not through and (starting := _starting(pod)):
        return starting
    for state in (row.get("state") or {} for row in reversed(_statuses(pod))):
        for name in ("waiting", "terminated"):
            reason = (state.get(name) or {}).get("reason")
            if reason:
                return str(reason)
    return str(status.get("reason") or status.get("phase", "Unknown"))


def _restarts(pod: Json, _: datetime) -> int:
    return sum(row.get("restartCount", 0) for row in (*_statuses(pod), *_sidecars(pod)))


POD = Kind(
    Pod,
    "pods",
    short_names=("po",),
    categories=("all",),
    columns=(
        NAME,
        Column("Ready", _ready),
        Column("Status", _phase),
        Column("Restarts", _restarts, "integer"),
        AGE,
        Column("IP", lambda obj, _: (obj.get("status") or {}).get("podIP") or "<none>", wide=True),
        Column("Node", lambda obj, _: obj["spec"].get("nodeName") or "<none>", wide=True),
    ),
    subresources=(("binding", "Binding", ("create",)), ("log", "Pod", ("get",)), ("status", "Pod", STATUS)),
    selectable=(
        *("spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork"),
        *("status.phase", "status.podIP", "status.nominatedNodeName"),
    ),
    versioned=True,
    lasting=False,
    start=_start,
    default=_default,
    check=_check,
    admit=_admit,
)
