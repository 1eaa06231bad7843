# SPDX-License-Identifier: Apache-2.0
"""The guard in front of a service: verifies who asks, decides by an invoker policy, and lets the handler run on one branch only.

`decide` is the whole decision, pure; `guard` keeps it fed and recorded; `asgi` and `wsgi` are thin shells around it. See
docs/how-to/guard-a-service.md.
"""

from podpass.guard.decide import Allow, Decision, Deny
from podpass.guard.guard import Guard
from podpass.guard.incoming import Incoming
from podpass.guard.ports import GroupResolver, IssuerKeys, KeyProvider, Reviewer
from podpass.guard.wiring import Wiring

__all__ = ["Allow", "Decision", "Deny", "GroupResolver", "Guard", "Incoming", "IssuerKeys", "KeyProvider", "Reviewer", "Wiring"]
