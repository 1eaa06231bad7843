# SPDX-License-Identifier: Apache-2.0
"""The spec of a pod, in the pod itself or in a template: the defaults that it gets, and what may not be in it."""

from typing import Final

from podpass.sandbox.kubernetes.kind import Json, check_label
from podpass.sandbox.kubernetes.status import Cause, forbidden_value, required, unsupported_value

VOLUME_MODE: Final = 0o644
_POD_DEFAULTS: Final[Json] = {
    "restartPolicy": "Always",
    "terminationGracePeriodSeconds": 30,
    "dnsPolicy": "ClusterFirst",
    "securityContext": {},
    "schedulerName": "default-scheduler",
}
_CONTAINER_DEFAULTS: Final[Json] = {
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "resources": {},
}
_POLICIES: Final = ("Always", "Never", "OnFailure")


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
            volume[name].setdefault("defaultMode", VOLUME_MODE)
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
