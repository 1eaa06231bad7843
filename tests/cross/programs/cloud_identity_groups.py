# SPDX-License-Identifier: Apache-2.0
"""Asks Cloud Identity as a guard does, with the credentials of the environment; prints who is in which group."""

import json
import os
import urllib.request
from datetime import UTC, datetime

from podpass.discovery.cloud_identity import CloudIdentity
from podpass.discovery.group_lookup import GroupLookup
from podpass.discovery.patience import patiently
from podpass.errors import GroupsUnavailableError

TEAM, INNER = "team@example.com", "inner@example.com"


def main() -> None:
    """Declare groups, and ask."""
    declared = {TEAM: [INNER], INNER: ["someone@example.com"]}
    door = {"Authorization": f"Bearer {os.environ['PODPASS_SANDBOX_ADMIN_TOKEN']}"}
    asked = urllib.request.Request(f"{os.environ['PODPASS_SANDBOX_ADMIN']}/groups", json.dumps(declared).encode(), door, method="PUT")
    urllib.request.urlopen(asked).close()
    lookup, now = GroupLookup(CloudIdentity()), datetime.now(UTC)

    def is_member(email: str, *groups: str) -> bool | str:
        try:
            return patiently(lambda: lookup.is_member(email, groups, now=now))
        except GroupsUnavailableError as error:
            return error.full_code

    print(
        json.dumps(
            {
                "someone": is_member("someone@example.com", TEAM),
                "nobody": is_member("nobody@example.com", TEAM),
                "a group that is not there": is_member("someone@example.com", "none@example.com"),
            }
        )
    )


main()
