# SPDX-License-Identifier: Apache-2.0
"""The variables and the command line of a container."""

import re
from collections.abc import Mapping

from podpass.errors import PodpassError
from podpass.sandbox.cluster_client import Object
from podpass.sandbox.node.images import Image
from podpass.sandbox.node.mounts import MountError
from podpass.sandbox.node.sources import PodSources, field

# `$$` is a dollar, `$(NAME)` a variable; anything else after a dollar stays (Kubernetes: third_party/forked/golang/expansion).
_REFERENCE = re.compile(r"\$(?:(\$)|\(([^)]*)\))")


class ContainerConfigError(PodpassError):
    """A variable cannot be given its value; kubelet's reason is CreateContainerConfigError."""

    code = "sandbox.container-config"


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value; a reference to an unknown name stays as it is."""
    return _REFERENCE.sub(lambda found: "$" if found[1] else variables.get(found[2], found[0]), text)


async def variables(container: Object, image: Image, base: Mapping[str, str], sources: PodSources) -> dict[str, str]:
    """Return the container's environment: `base`, the image's, `envFrom`, then `env`, later ones winning.

    Raises:
        ContainerConfigError: A config map, secret, key or field is missing.
    """
    result = {**base, **image.env}
    try:
        for entry in container.get("envFrom", []):
            result |= await _from_all(entry, sources)
        for entry in container.get("env", []):
            value = await _value(entry, result, sources)
            if value is not None:
                result[entry["name"]] = value
    except MountError as error:
        raise ContainerConfigError(str(error)) from error
    return result


async def _from_all(entry: Object, sources: PodSources) -> dict[str, str]:
    kind = "configmap" if "configMapRef" in entry else "secret"
    reference = entry.get("configMapRef") or entry["secretRef"]
    found = await sources.keys(kind, reference["name"], optional=bool(reference.get("optional"))) or {}
    return {entry.get("prefix", "") + key: value.decode(errors="replace") for key, value in found.items()}


async def _value(entry: Object, so_far: Mapping[str, str], sources: PodSources) -> str | None:
    """Return the value of one `env` entry; None for an optional one whose source is absent."""
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value", ""), so_far)
    if "fieldRef" in source:
        return field(sources.pod, source["fieldRef"]["fieldPath"], sources.address)
    for kind, member in (("configmap", "configMapKeyRef"), ("secret", "secretKeyRef")):
        if reference := source.get(member):
            optional = bool(reference.get("optional"))
            found = await sources.keys(kind, reference["name"], optional=optional) or {}
            if reference["key"] in found:
                return found[reference["key"]].decode(errors="replace")
            if optional:
                return None
            place = f"{sources.pod['metadata']['namespace']}/{reference['name']}"
            raise MountError(f"couldn't find key {reference['key']} in {'ConfigMap' if kind == 'configmap' else 'Secret'} {place}")
    raise MountError(f"the source of the variable {entry['name']} is not supported")


def command_line(container: Object, image: Image, variables: Mapping[str, str]) -> list[str]:
    """Return the argument vector: `command` in place of the image's, then `args`."""
    words = [*(container.get("command") or image.command), *container.get("args", [])]
    # The image's own words are not the pod's to expand.
    fixed = 0 if container.get("command") else len(image.command)
    return [*words[:fixed], *(expand(word, variables) for word in words[fixed:])]
