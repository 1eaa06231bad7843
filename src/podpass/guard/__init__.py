# SPDX-License-Identifier: Apache-2.0
"""The guard in front of a service: verifies who asks, decides by an invoker policy, and lets the handler run on one branch only.

`decide` is the whole decision, pure; `guard` keeps it fed and recorded; `asgi` and `wsgi` are thin shells around it. See
docs/how-to/guard-a-service.md.
"""

from typing import TYPE_CHECKING

from podpass.guard.decide import Allow, Decision, Deny
from podpass.guard.guard import Guard
from podpass.guard.incoming import Incoming
from podpass.guard.wiring import Wiring

if TYPE_CHECKING:
    from podpass.guard.ports import GroupResolver, IssuerKeys, KeyProvider, Reviewer

__all__ = ["Allow", "Decision", "Deny", "GroupResolver", "Guard", "Incoming", "IssuerKeys", "KeyProvider", "Reviewer", "Wiring"]


def __getattr__(name: str) -> object:
    """Import the ports when somebody asks for one (PEP 562): few services do."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from podpass.guard import ports  # noqa: PLC0415 - as above

    found: object = getattr(ports, name)
    globals()[name] = found
    return found
