# SPDX-License-Identifier: Apache-2.0
"""Every Google service of this universe."""

from podpass.sandbox.google import (
    credentials,
    iam,
    oauth,
    resource_manager,
    service_usage,
    sts,
)
from podpass.sandbox.google.service import Service
from podpass.sandbox.google.storage import service as storage

SERVICES: tuple[Service, ...] = (
    credentials.SERVICE,
    iam.SERVICE,
    oauth.SERVICE,
    resource_manager.SERVICE,
    service_usage.SERVICE,
    storage.SERVICE,
    sts.SERVICE,
)
