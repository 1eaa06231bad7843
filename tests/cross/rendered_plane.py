# SPDX-License-Identifier: Apache-2.0
"""A real control plane whose kube-apiserver is told by somebody else whose tokens it issues and takes."""

from collections.abc import Sequence
from pathlib import Path

from podpass.sandbox.binaries import cache_directory
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.control_plane import ControlPlane
from podpass.sandbox.settings import SandboxSettings

TOLD = ("--service-account-issuer", "--api-audiences")


class RenderedPlane(ControlPlane):
    """Its flags about issuers and audiences are those that were rendered; the rest is the sandbox's own.

    Args:
        directory: Where it is kept.
        told: Name and value of each flag.
    """

    def __init__(self, directory: Path, told: Sequence[tuple[str, str]]) -> None:
        super().__init__(cache_directory(), SandboxSettings(key_type="p256", state_dir=directory), AuthorityCA(directory / "ca"))
        self.told = list(told)

    async def tell(self, told: Sequence[tuple[str, str]]) -> None:
        """Restart kube-apiserver with other flags."""
        self.told = list(told)
        await self.restart(IssuerChange())

    def _api_server_flags(self) -> list[str]:
        own = [flag for flag in super()._api_server_flags() if not flag.startswith(TOLD)]
        return [*own, *(f"--{name}={value}" for name, value in self.told)]
