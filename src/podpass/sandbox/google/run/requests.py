# SPDX-License-Identifier: Apache-2.0
"""What a service may be asked to be: checked, and completed as Cloud Run does. What the sandbox cannot run is refused by name."""

import json
import re
from typing import Annotated, Final

import msgspec

from podpass.sandbox.google.message import Fault, invalid
from podpass.sandbox.google.run.services import AUDIENCES
from podpass.sandbox.store import Json

_NAME: Final = re.compile(r"[a-z]([-a-z0-9]{0,47}[a-z0-9])?")
# Cloud Run, container runtime contract: set by the system [R].
RESERVED: Final = frozenset({"PORT", "K_SERVICE", "K_REVISION", "K_CONFIGURATION"})
_ALL_TO_LATEST: Final = [{"latestRevision": True, "percent": 100}]


class _Variable(msgspec.Struct, rename="camel"):
    name: str
    value: str = ""
    value_from: Json | None = None


class _Container(msgspec.Struct):
    image: str = ""
    command: list[str] = []
    args: list[str] = []
    env: list[_Variable] = []


class _Pod(msgspec.Struct, rename="camel"):
    containers: list[_Container] = []
    timeout_seconds: Annotated[int, msgspec.Meta(ge=1, le=3600)] = 300  # [R]


def read_service(body: Json) -> tuple[str, Json]:
    """Return the name and the wanted service of a request's body.

    Raises:
        Fault: It is not a service, or not one that the sandbox can run.
    """
    metadata, spec = _object(body, "metadata"), _object(body, "spec")
    name = str(metadata.get("name", ""))
    if not _NAME.fullmatch(name):
        raise invalid(  # [K]
            "metadata.name: only lowercase, digits, and hyphens; must begin with letter, and cannot end with hyphen; must be less than 50 "
            "characters"
        )
    template = _object(spec, "template")
    described = template.get("metadata") or {}
    revision = str(described.get("name") or "")
    if revision and not revision.startswith(f"{name}-"):
        raise invalid(f"spec.template.metadata.name: Revision name must be prefixed by the name of the enclosing Service: {name}-")  # [K]
    if any(each.get("percent", 0) != 100 or not each.get("latestRevision") for each in spec.get("traffic") or ()):  # noqa: PLR2004 - per cent
        raise _not_here("traffic other than all of it to the latest revision")
    annotations = _texts(metadata, "annotations")
    _check_audiences(annotations)
    wanted = {"annotations": annotations, "labels": _texts(metadata, "labels")}
    pod = _pod(_object(template, "spec"))
    return name, {"metadata": wanted, "spec": {"template": {"metadata": described, "spec": pod}, "traffic": _ALL_TO_LATEST}}


def _pod(spec: Json) -> Json:
    try:
        containers = msgspec.convert(spec, _Pod).containers
    except msgspec.ValidationError as error:
        raise invalid(f"spec.template.spec: {error}") from None  # [?] the words
    if not containers:
        raise invalid("spec.template.spec.containers: must contain exactly one container")  # [K]
    if len(containers) > 1 or spec.get("volumes"):
        raise _not_here("services of several containers, and volumes")
    if not containers[0].image:
        raise invalid("spec.template.spec.containers[0].image: is required")  # [K]
    if taken := sorted({each.name for each in containers[0].env} & RESERVED):
        raise invalid(  # [M]
            f"spec.template.spec.containers[0].env: The following reserved env names were provided: {', '.join(taken)}. These values are "
            "automatically set by the system."
        )
    if any(each.value_from for each in containers[0].env):
        raise _not_here("variables from secrets")
    (container,) = spec["containers"]
    ports = container.get("ports") or [{"name": "http1", "containerPort": 8080}]
    return {"containerConcurrency": 80, "timeoutSeconds": 300, **spec, "containers": [{**container, "ports": ports}]}


def _check_audiences(annotations: Json) -> None:
    try:
        audiences = json.loads(annotations.get(AUDIENCES, "[]"))
    except ValueError:
        audiences = None
    if not isinstance(audiences, list) or not all(isinstance(each, str) and each for each in audiences):
        raise invalid(f"metadata.annotations[{AUDIENCES}]: must be a JSON list of texts")  # [?]


def _object(value: Json, name: str) -> Json:
    found = value.get(name)
    if not isinstance(found, dict):
        raise invalid(f"{name}: is required")  # [?]
    return found


def _texts(value: Json, name: str) -> dict[str, str]:
    return {str(key): str(text) for key, text in (value.get(name) or {}).items()}


def _not_here(what: str) -> Fault:
    return Fault(501, "UNIMPLEMENTED", f"The sandbox's Cloud Run does not have {what}; use a real project for that.")
