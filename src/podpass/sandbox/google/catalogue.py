# SPDX-License-Identifier: Apache-2.0
"""Every Google service of this universe."""

from podpass.sandbox.google import (
    cloud_identity,
    credentials,
    iam,
    oauth,
    openid,
    resource_manager,
    service_usage,
    sts,
)
from podpass.sandbox.google.run import api as run
from podpass.sandbox.google.service import Service
from podpass.sandbox.google.storage import service as storage

SERVICES: tuple[Service, ...] = (
    cloud_identity.SERVICE,
    credentials.SERVICE,
    iam.SERVICE,
    oauth.SERVICE,
    openid.SERVICE,
    resource_manager.SERVICE,
    run.SERVICE,
    service_usage.SERVICE,
    storage.SERVICE,
    sts.SERVICE,
)
