# SPDX-License-Identifier: Apache-2.0
"""Texts of others in messages are bounded."""

from collections.abc import Callable

import pytest

from podpass.errors import ConfigError
from podpass.names import Audience, GoogleServiceAccount, Issuer, PoolName, Principal, ProviderName, ServiceAccountRef
from podpass.names.bucket import check_bucket_name
from podpass.names.project import check_project_id
from podpass.names.quoting import quoted
from podpass.names.role import check_role


def test_a_short_text_is_whole_and_a_long_one_says_how_long_it_is() -> None:
    assert quoted("it's\n") == '"it\'s\\n"'
    assert quoted("x" * 201) == f"'{'x' * 200}'… (201 characters)"


@pytest.mark.parametrize(
    "parse",
    [
        pytest.param(parse, id=getattr(parse, "__qualname__", ""))
        for parse in (
            Audience.parse,
            GoogleServiceAccount.parse,
            Issuer.parse,
            PoolName.parse,
            Principal.parse,
            ProviderName.parse,
            ServiceAccountRef.parse,
            check_bucket_name,
            check_project_id,
            check_role,
        )
    ],
)
@pytest.mark.parametrize("text", ["x! " * 30_000, f"{'x' * 90_000}://a@b/c", f"a/{'x' * 90_000}"])
def test_no_name_echoes_a_long_text_whole(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert len(str(caught.value)) < 1000
