# SPDX-License-Identifier: Apache-2.0
"""Images without a registry: a name stands for a command on this machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Image:
    """What a container of this image runs.

    Attributes:
        name: The reference as a pod writes it, without a tag.
        command: The entry point. A container's `command` replaces it; its `args` follow it.
        env: Variables that the image brings; the container's own win.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


Images = Mapping[str, Image]
"""The images of a sandbox by name; whoever starts the sandbox registers them."""


def find(images: Images, reference: str) -> Image | None:
    """Return the image that `reference` names; a tag or digest makes no difference unless it is registered with it."""
    untagged = reference.partition("@")[0]
    name, colon, tag = untagged.rpartition(":")
    bare = name if colon and "/" not in tag else untagged
    return images.get(reference) or images.get(bare)
