# SPDX-License-Identifier: Apache-2.0
"""Google's judgement of a subject token, pure: a provider, a token and a moment in; an ordered trace of checks out.

The security token service of the sandbox answers from it, and `podpass token explain` prints it. Behaviour that no client of ours has been
seen to need carries a mark: [R] Google's reference, [M] measured on the real service by others, [K] general knowledge, [?] a guess.
"""

from podpass.wif.judge import KeysOf, ProvidersBy, judge, judge_exchange
from podpass.wif.judgement import CHECKS, Check, Judgement, Refusal
from podpass.wif.limits import Violation, check_pool, check_provider, check_service_account
from podpass.wif.provider import Provider

__all__ = [
    "CHECKS",
    "Check",
    "Judgement",
    "KeysOf",
    "Provider",
    "ProvidersBy",
    "Refusal",
    "Violation",
    "check_pool",
    "check_provider",
    "check_service_account",
    "judge",
    "judge_exchange",
]
