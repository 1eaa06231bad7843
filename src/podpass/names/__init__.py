# SPDX-License-Identifier: Apache-2.0
"""The field's names as parsed, frozen values: a string that was read is never trusted twice, and never parsed twice.

Each `parse` refuses what the name's owner (Kubernetes or Google) would refuse, and `str()` gives back what was read.

Names that only federation knows are imported when they are asked for: a guard starts without them.
"""

from typing import TYPE_CHECKING

from podpass.names.audience import Audience
from podpass.names.google_account import GoogleServiceAccount
from podpass.names.issuer import Issuer
from podpass.names.secret import Secret
from podpass.names.service_account import ServiceAccountRef

if TYPE_CHECKING:
    from podpass.names.pool import PoolName, ProviderName
    from podpass.names.principal import Principal

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

_LATER = {"PoolName": "podpass.names.pool", "Principal": "podpass.names.principal", "ProviderName": "podpass.names.pool"}


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - as late as what it imports

    found: object = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found
