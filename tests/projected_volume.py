# SPDX-License-Identifier: Apache-2.0
"""A projected token as kubelet lays it out: a link to a folder that is exchanged as a whole."""

from pathlib import Path


class ProjectedVolume:
    """`token` points into `..data`, which points to the folder of the moment."""

    def __init__(self, folder: Path, token: str) -> None:
        self._folder = folder
        self._count = 0
        self.path = folder / "token"
        self.swap(token)
        self.path.symlink_to("..data/token")

    def swap(self, token: str) -> None:
        """Exchange the token, as kubelet does: write a new folder, then turn the link over in one step."""
        self._count += 1
        name = f"..2026_{self._count}"
        (self._folder / name).mkdir()
        (self._folder / name / "token").write_text(token)
        link = self._folder / "..data_tmp"
        link.symlink_to(name)
        link.rename(self._folder / "..data")
