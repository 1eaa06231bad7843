# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.demo import cluster
from podpass.demo.cluster import _warnings, is_settled, until
from podpass.demo.story import StoryError
from podpass.kube.client import Request, connect
from podpass.kube.kubeconfig import from_dict
from podpass.sandbox.hosting import HostedSandbox


def test_lost_patience_says_what_the_cluster_warns_of(sandbox: HostedSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.cluster is not None
    pod = {"metadata": {"name": "stuck"}, "spec": {"containers": [{"name": "main", "image": "nobody.example/none"}]}}
    with connect(from_dict(sandbox.cluster.admin_kubeconfig())) as client:
        until(client, lambda: is_settled(client), "the cluster to settle")
        client.call(Request("POST", "/api/v1/namespaces/default/pods", "make a pod", body=pod))
        until(client, lambda: any(_warnings(client)), "the warning")
        slept: list[float] = []
        monkeypatch.setattr(cluster, "sleep", slept.append)
        monkeypatch.setattr(cluster, "monotonic", lambda: sum(slept))
        with pytest.raises(StoryError, match=r"waited 5 s for the pod\. .*stuck: Failed: Failed to pull image \"nobody.example/none\""):
            until(client, lambda: False, "the pod", patience_s=5.0)
        assert 5 < sum(slept) < 5.2
