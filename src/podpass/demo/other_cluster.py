# SPDX-License-Identifier: Apache-2.0
"""A second cluster beside the sandbox's own: the same issuer URL, as all clusters of kubeadm have it, and another signing key."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from podpass.clock import SystemClock
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict
from podpass.kube.objects import ensure_namespace, ensure_service_account
from podpass.names import ServiceAccountRef
from podpass.sandbox.ca import AuthorityCA
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.kubernetes import KubernetesApi
from podpass.sandbox.settings import SandboxSettings


@contextmanager
def other_cluster(sandbox: HostedSandbox, account: ServiceAccountRef) -> Iterator[KubeClient]:
    """Start one in the sandbox's thread, with a service account that could be taken for our own."""
    with TemporaryDirectory(prefix="podpass-other-cluster-") as directory:
        api = sandbox.run(_started(Path(directory)))
        try:
            with connect(from_dict(api.admin_kubeconfig())) as client:
                ensure_namespace(client, account.namespace)
                ensure_service_account(client, account)
                yield client
        finally:
            sandbox.run(api.stop())


async def _started(directory: Path) -> KubernetesApi:
    api = KubernetesApi(SandboxSettings(), AuthorityCA(directory), SystemClock())
    await api.start()
    return api
