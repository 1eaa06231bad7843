# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.demo.federation import in_short

REFUSAL = 'RefreshError: No {"error": {"code": 403, "message": "Permission denied.", "status": "PERMISSION_DENIED", "details": []}}'


@pytest.mark.parametrize(
    ("line", "short"),
    [
        (REFUSAL, "403 PERMISSION_DENIED: Permission denied."),
        ("holiday-photos", "holiday-photos"),
        ('{"error": "x"}', '{"error": "x"}'),
        ("{cut", "{cut"),
    ],
)
def test_the_summary_has_google_s_sentence_and_not_its_json(line: str, short: str) -> None:
    assert in_short(line) == short
