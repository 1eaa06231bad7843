# SPDX-License-Identifier: Apache-2.0
from datetime import timedelta

import pytest

from podpass.cli.duration import in_words


@pytest.mark.parametrize(
    ("span", "said"),
    [
        (timedelta(hours=24), "24 h"),
        (timedelta(days=365), "8760 h"),
        (timedelta(minutes=90), "90 min"),
        (timedelta(minutes=10), "10 min"),
        (timedelta(seconds=3661), "3661 s"),
        (timedelta(seconds=1), "1 s"),
    ],
)
def test_a_time_is_written_in_its_largest_whole_unit(span: timedelta, said: str) -> None:
    assert in_words(span) == said
