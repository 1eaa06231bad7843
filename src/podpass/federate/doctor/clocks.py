# SPDX-License-Identifier: Apache-2.0
"""Whether cluster and Google agree on the time, by what both have just said: the token its `iat`, Google the `Date` of an answer."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import httpx2

from podpass.names import Secret
from podpass.verify import parse
from podpass.verify.claims import read_date

_GOOGLE: Final = "https://sts.googleapis.com/"


def ahead(http: httpx2.Client, token: Secret[str]) -> timedelta | None:
    """Return how far the cluster's clock is ahead of Google's, to some seconds; None where one of the two does not say.

    Args:
        http: Asks Google, without credentials; which answer it is does not matter.
        token: A subject token that the cluster has just issued.
    """
    issued_s = read_date(parse(token.reveal()).payload, "iat")
    try:
        date = http.get(_GOOGLE, follow_redirects=False).headers.get("date", "")
        google = parsedate_to_datetime(date)
    except (httpx2.RequestError, ValueError):
        return None
    if issued_s is None or google.tzinfo is None:
        return None
    return datetime.fromtimestamp(issued_s, UTC) - google
