# SPDX-License-Identifier: Apache-2.0
"""Who reads, makes and takes away the things of each kind. Members of policies and APIs have nobody: they are done many at once."""

from podpass.federate.kinds.accounts import Accounts
from podpass.federate.kinds.buckets import Buckets, Objects
from podpass.federate.kinds.config_maps import ConfigMaps
from podpass.federate.kinds.handler import Handler
from podpass.federate.kinds.pools import Pools
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import Kind
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient


def handlers(google: GoogleClient, cluster: KubeClient | None, mark: Mark) -> dict[Kind, Handler]:
    """Return who handles each kind; without a cluster nobody handles config maps."""
    pools = Pools(google, mark)
    of_google: dict[Kind, Handler] = {
        Kind.POOL: pools,
        Kind.PROVIDER: pools,
        Kind.ACCOUNT: Accounts(google, mark),
        Kind.BUCKET: Buckets(google, mark),
        Kind.OBJECT: Objects(google, mark),
    }
    return of_google | ({Kind.CONFIG_MAP: ConfigMaps(cluster, mark)} if cluster else {})
