# SPDX-License-Identifier: Apache-2.0
"""Groups of people, service accounts and other groups, as they are declared: who is in which, also by way of others."""

from collections.abc import Iterable

from podpass.sandbox.store import Store

KIND = "group"


class Groups:
    """The groups of one universe, by email.

    Args:
        store: Where they are kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def declare(self, group: str, members: Iterable[str]) -> None:
        """Give a group exactly these members, by email."""
        self._store.put(KIND, group, {"members": sorted(set(members))})

    def names(self) -> list[str]:
        """Return every group."""
        return [record.key for record in self._store.select(KIND)]

    def members(self, group: str) -> list[str]:
        """Return the direct members of a group; none of one that is not there."""
        record = self._store.get(KIND, group)
        return list(record.value["members"]) if record else []

    def of(self, email: str) -> dict[str, bool]:
        """Return the groups that somebody is in, each with whether directly."""
        table = {record.key: record.value["members"] for record in self._store.select(KIND)}
        found: dict[str, bool] = {}
        fresh = [email]
        while fresh:
            member = fresh.pop()
            for group, members in table.items():
                if member in members and group not in found:
                    found[group] = email in members
                    fresh.append(group)
        return found

    def memberships(self, email: str) -> set[str]:
        """Return the groups that somebody is in, as members of policies."""
        return {f"group:{group}" for group in self.of(email)}

    def forget(self, email: str) -> None:
        """Take somebody who is gone out of every group: who gets the email next does not inherit the place."""
        for record in self._store.select(KIND):
            if email in record.value["members"]:
                self.declare(record.key, (each for each in record.value["members"] if each != email))
