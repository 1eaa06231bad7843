# SPDX-License-Identifier: Apache-2.0
"""The attribute condition that podpass writes from the workloads: these accounts and no others may enter the pool."""

from collections.abc import Iterable

from podpass.config.federation import GENERATED, GoogleSettings
from podpass.names import ServiceAccountRef


def generated(accounts: Iterable[ServiceAccountRef]) -> str:
    """Return an expression that is true for the tokens of these accounts only; for nobody if there are none.

    The names need no quoting: Kubernetes allows neither quotes nor backslashes in them.
    """
    subjects = [f"'{account.subject}'" for account in sorted(accounts)]
    if not subjects:
        return "false"
    return f"assertion.sub == {subjects[0]}" if len(subjects) == 1 else f"assertion.sub in [{', '.join(subjects)}]"


def of(settings: GoogleSettings, accounts: Iterable[ServiceAccountRef]) -> str:
    """Return the provider's condition; empty where the file says `none`."""
    return generated(accounts) if settings.attribute_condition is GENERATED else (settings.attribute_condition or "")
