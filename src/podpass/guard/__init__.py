# SPDX-License-Identifier: Apache-2.0
"""The guard in front of a service: verifies who asks, decides by an invoker policy, and lets the handler run on one branch only.

`decide` is the whole decision, pure; `guard` keeps it fed and recorded, and recognises what was decided before (`familiar`); `asgi` and
`wsgi` are thin shells around it. See docs/how-to/guard-a-service.md.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from podpass.guard.decide import Allow, Decision, Deny
from podpass.guard.guard import Guard
from podpass.guard.incoming import Incoming
from podpass.guard.wiring import Wiring

if TYPE_CHECKING:
    from podpass.guard.ports import GroupResolver, IssuerKeys, KeyProvider, Reviewer

__all__ = ["Allow", "Decision", "Deny", "GroupResolver", "Guard", "Incoming", "IssuerKeys", "KeyProvider", "Reviewer", "Wiring"]


# Few services ask for one of these.
_HOMES: Final = dict.fromkeys(("GroupResolver", "IssuerKeys", "KeyProvider", "Reviewer"), "ports")


def __getattr__(name: str) -> object:
    """Import a name when it is used for the first time (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found
