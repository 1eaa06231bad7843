# SPDX-License-Identifier: Apache-2.0
"""Google's judgement of a subject token, check by check."""

from collections.abc import Callable
from datetime import datetime

from podpass.names import ProviderName
from podpass.verify import KeySet
from podpass.wif.judgement import Judgement
from podpass.wif.provider import Provider

KeysOf = Callable[[str], KeySet]


def judge(token: str, provider: Provider, keys: KeysOf, now: datetime, *, enforce_48h: bool = False) -> Judgement:
    """Judge a subject token for a provider that the audience field has already found."""
    raise NotImplementedError


def judge_exchange(
    audience: str,
    token: str,
    providers: Callable[[ProviderName], Provider | None],
    keys: KeysOf,
    now: datetime,
    *,
    enforce_48h: bool = False,
) -> Judgement:
    """Judge a request to the security token service, from its audience field on."""
    raise NotImplementedError
