# SPDX-License-Identifier: Apache-2.0
"""The volumes of one pod: directories of the node agent's that are kept as their sources say."""

import re
from pathlib import Path

from podpass.errors import NeighbourError
from podpass.sandbox.cluster_client import Object
from podpass.sandbox.node import atomic
from podpass.sandbox.node.mounts import Bind, MountError
from podpass.sandbox.node.sources import PodSources

# A DNS label (RFC 1123), as Kubernetes demands.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class PodVolumes:
    """Writes and rewrites a pod's volumes below `directory`."""

    def __init__(self, pod: Object, directory: Path, sources: PodSources) -> None:
        self._volumes: dict[str, Object] = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        self._directory = directory
        self._sources = sources

    async def write(self) -> None:
        """Bring every volume up to date.

        Raises:
            MountError: A volume cannot be filled; its text is that of kubelet's FailedMount event.
        """
        for name, volume in self._volumes.items():
            try:
                await self._write_one(name, volume)
            except (MountError, NeighbourError) as error:
                raise MountError(f'MountVolume.SetUp failed for volume "{name}" : {error}') from error

    async def _write_one(self, name: str, volume: Object) -> None:
        if not _NAME.fullmatch(name):
            # It becomes the name of a directory, in which everything that is not the volume's is taken away.
            raise MountError(f"{name!r} cannot be the name of a volume", "", "Use lower-case letters, digits and '-'.")
        path = self._directory / name
        kind, source = _source(volume)
        payload = None if kind == "emptyDir" else await self._sources.payload(kind, source)
        if not path.is_dir():
            path.mkdir(parents=True)
            path.chmod(0o777 if payload is None else 0o755)
        if payload is not None:
            atomic.write(path, payload, self._sources.now())

    def binds(self, container: Object) -> list[Bind]:
        """Say what lies where in `container`, once the volumes are written.

        Raises:
            MountError: A mount names no volume of the pod, or a path that leaves its volume.
        """
        return [self._bind(mount) for mount in container.get("volumeMounts", [])]

    def _bind(self, mount: Object) -> Bind:
        name = mount["name"]
        if name not in self._volumes:
            raise MountError(f'no volume is named "{name}"')
        volume, (kind, _) = self._directory / name, _source(self._volumes[name])
        source = (volume / mount.get("subPath", "")).resolve()
        if not source.is_relative_to(volume.resolve()):
            raise MountError(f'the subPath {mount["subPath"]!r} leaves the volume "{name}"')
        if kind == "emptyDir":
            source.mkdir(parents=True, exist_ok=True)
        elif not source.exists():
            raise MountError(f'the volume "{name}" has nothing at the subPath {mount["subPath"]!r}')
        return Bind(source, mount["mountPath"], read_only=kind != "emptyDir" or bool(mount.get("readOnly")))


def _source(volume: Object) -> tuple[str, Object]:
    """Return the kind of a volume and its source; a volume without one is an emptyDir, as for the API server."""
    kind, source = next(((key, value) for key, value in volume.items() if key != "name"), ("emptyDir", {}))
    return kind, source or {}
