# SPDX-License-Identifier: Apache-2.0
"""Who may invoke a service: issuers, members, rules and the verdict. Pure: no I/O, no clock.

`invoker_policy` holds the values and the verdict; `reading` makes them of YAML (an extra: it needs PyYAML and CEL), `short_form` of two
environment variables. What is admitted and what is refused stands in docs/reference/invoker-policy.md.
"""

from podpass.policy.invoker_policy import HandlerToken, InvokerPolicy, Mode, TrustedIssuer
from podpass.policy.rules import Refusal, Request, Rule, Verdict

__all__ = ["HandlerToken", "InvokerPolicy", "Mode", "Refusal", "Request", "Rule", "TrustedIssuer", "Verdict"]
