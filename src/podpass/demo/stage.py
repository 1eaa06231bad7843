# SPDX-License-Identifier: Apache-2.0
"""Where a story takes place: a sandbox of its own, with this process logged in to it; and the look back at what is left of it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from podpass.demo import cluster
from podpass.demo.comparison import Comparison, compare
from podpass.demo.images import IMAGES
from podpass.demo.story import Story, expect
from podpass.google.connections import new_http
from podpass.google.operator import find
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import load as load_kubeconfig
from podpass.sandbox.cluster import Cluster, IssuerChange
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings


@dataclass(frozen=True, slots=True)
class Stage:
    """A sandbox, and the way in to its cluster as a person would have it."""

    sandbox: HostedSandbox
    kube: KubeClient

    @property
    def cluster(self) -> Cluster:
        """The sandbox's cluster."""
        assert self.sandbox.cluster is not None
        return self.sandbox.cluster

    def restart(self, change: IssuerChange) -> None:
        """Restart the control plane with other flags."""
        self.sandbox.run(self.cluster.restart(change))

    def compare(self, story: Story, before: Mapping[str, Any]) -> None:
        """Tell the last step: nothing is left.

        Raises:
            StoryError: Something is.
        """
        with story.step("The universe, before and after") as step:
            compared = compare(before, self.sandbox.dump())
            step.say(*_told(compared))
            expect(holds=compared.equal, what="something is left")
        story.results["comparison"] = {"equal": compared.equal, "tombstones": list(compared.tombstones)}
        kept = ", but for what Google keeps for 30 days:" if compared.tombstones else "."
        story.conclude(f"Afterwards the universe was as before{kept}", *compared.tombstones)


@contextmanager
def staged(settings: SandboxSettings) -> Iterator[Stage]:
    """Start a sandbox, and be its logged-in user for a while."""
    with HostedSandbox(settings, images=IMAGES) as sandbox, _environment(sandbox.environment()), connect(load_kubeconfig()) as kube:
        cluster.until(kube, lambda: cluster.is_settled(kube), "the cluster to settle")
        yield Stage(sandbox, kube)


@contextmanager
def operator() -> Iterator[GoogleClient]:
    """Ask Google as that user."""
    http = new_http()
    with GoogleClient(find(http), http=http) as google:
        yield google


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Have variables in this process: Google's library, kubectl and the kubeconfig are found through the environment, as in life."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _told(compared: Comparison) -> Iterator[str]:
    if not compared.equal:
        yield "Not equal:"
    else:
        yield "Equal, but for what Google keeps for 30 days:" if compared.tombstones else "Equal."
    yield from (f"  {difference}" for difference in compared.differences)
    yield from (f"  {tombstone}" for tombstone in compared.tombstones)
