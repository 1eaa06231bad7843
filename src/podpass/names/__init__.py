# SPDX-License-Identifier: Apache-2.0
"""The field's names as parsed, frozen values: a string that was read is never trusted twice, and never parsed twice.

Each `parse` refuses what the name's owner (Kubernetes or Google) would refuse, and `str()` gives back what was read.
"""

from podpass.names.audience import Audience
from podpass.names.google_account import GoogleServiceAccount
from podpass.names.issuer import Issuer
from podpass.names.pool import PoolName, ProviderName
from podpass.names.principal import Principal
from podpass.names.secret import Secret
from podpass.names.service_account import ServiceAccountRef

__all__ = [
    "Audience",
    "GoogleServiceAccount",
    "Issuer",
    "PoolName",
    "Principal",
    "ProviderName",
    "Secret",
    "ServiceAccountRef",
]
