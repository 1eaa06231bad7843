# SPDX-License-Identifier: Apache-2.0
"""The field's names as parsed, frozen values: a string that was read is never trusted twice, and never parsed twice.

Each `parse` refuses what the name's owner (Kubernetes or Google) would refuse, and `str()` gives back what was read.

Names that only federation knows are imported when they are asked for: a guard starts without them. Patterns that few
requests need are compiled when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

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

_HOMES: Final = {"PoolName": "pool", "Principal": "principal", "ProviderName": "pool"}


def __getattr__(name: str) -> object:
    """Import a name when it is used for the first time (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
