# SPDX-License-Identifier: Apache-2.0
"""Pods: how one begins, what of it never changes, and what admission adds."""

import secrets
from typing import Final

from lightkube.models.core_v1 import Pod

from podpass.sandbox.kubernetes.kind import STATUS, Json, Kind, Reader
from podpass.sandbox.kubernetes.kinds.pod_columns import COLUMNS
from podpass.sandbox.kubernetes.kinds.pod_spec import VOLUME_MODE, check_pod_spec, containers_of, default_pod_spec
from podpass.sandbox.kubernetes.kinds.service_accounts import SERVICE_ACCOUNT
from podpass.sandbox.kubernetes.status import Cause, StatusError, forbidden, forbidden_value

TOKEN_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
# ServiceAccount admission asks for this life; the issuer then makes the token good for longer and writes `warnafter`.
TOKEN_LIFE_S: Final = 3607
# What admission adds to a pod, and to no template: Priority and DefaultTolerationSeconds.
_ADMITTED: Final[Json] = {"preemptionPolicy": "PreemptLowerPriority", "priority": 0}
_TOLERATED_S: Final = 300


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
    spec.setdefault("volumes", []).append({"name": volume, "projected": {"defaultMode": VOLUME_MODE, "sources": sources}})
    for container in without:
        container.setdefault("volumeMounts", []).append({"name": volume, "readOnly": True, "mountPath": TOKEN_MOUNT})


POD = Kind(
    Pod,
    "pods",
    short_names=("po",),
    categories=("all",),
    columns=COLUMNS,
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
