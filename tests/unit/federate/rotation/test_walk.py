# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.federate.rotation.walk import sentence


@pytest.mark.parametrize(
    ("words", "begins"),
    [("https://10.0.0.1:6443 serves no new key yet.", "https://10"), ("the last token ends at noon", "The last")],
)
def test_a_sentence_begins_with_a_capital_but_an_address_is_left_alone(words: str, begins: str) -> None:
    assert sentence(words).startswith(begins)
