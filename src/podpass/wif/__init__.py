# SPDX-License-Identifier: Apache-2.0
"""Google's judgement of a subject token, pure: a provider, a token and a moment in; an ordered trace of checks out.

The security token service of the sandbox answers from it, and `podpass token explain` prints it. What is known of the real service carries
no mark; what was only measured by others is marked [M], reference text [R], what is general knowledge [K], and what is guessed [?].
"""

from podpass.wif.judge import KeysOf, judge, judge_exchange
from podpass.wif.judgement import CHECKS, Check, Judgement, Refusal
from podpass.wif.provider import Provider

__all__ = ["CHECKS", "Check", "Judgement", "KeysOf", "Provider", "Refusal", "judge", "judge_exchange"]
