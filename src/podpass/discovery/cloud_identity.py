# SPDX-License-Identifier: Apache-2.0
"""Google's directory of groups, asked with the process's own Google credentials. Needs google-auth."""

import threading
from datetime import timedelta
from typing import Final

from podpass.google import operator
from podpass.google.backoff import Pacing
from podpass.google.connections import new_http
from podpass.google.groups import find_group, is_transitive_member
from podpass.google.rest import GoogleClient
from podpass.net.forks import survive

# A caller waits for it, so it is not asked for long.
_PATIENCE: Final = timedelta(seconds=4)


class CloudIdentity:
    """A `Directory`; the credentials are looked for when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: GoogleClient | None = None
        survive(self)

    def has_member(self, group: str, email: str) -> bool:
        """Ask about a group; see `Directory`. A group that does not exist has no members."""
        client = self._connection()
        name = find_group(client, group)
        return name is not None and is_transitive_member(client, name, email)

    def _connection(self) -> GoogleClient:
        with self._lock:
            if self._client is None:
                http = new_http()
                self._client = GoogleClient(operator.find(http), http=http, pacing=Pacing(within=_PATIENCE))
            return self._client

    def wake_in_child(self) -> None:
        """Start anew after a fork; see `forks`. Connections belong to one process."""
        self._lock, self._client = threading.Lock(), None

    def __str__(self) -> str:
        return "Cloud Identity"
