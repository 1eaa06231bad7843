# SPDX-License-Identifier: Apache-2.0
"""Google groups: whether an account is in one, directly or by way of other groups (Cloud Identity API v1).

Whoever asks needs to see the group's memberships: the role Groups Reader of the Workspace, or a place in the group itself. The transitive
check is there for Cloud Identity Premium and the larger editions of Workspace. [K]
"""

from typing import Final

from podpass.errors import UnexpectedAnswerError
from podpass.google.rest import GoogleClient, Request, segment

_SERVICE: Final = "cloudidentity"


def find_group(client: GoogleClient, email: str) -> str | None:
    """Return the resource name of a group, `groups/ID`; None where there is none."""
    doing = f"find the group {email}"
    answer = client.find(Request("GET", _SERVICE, "/v1/groups:lookup", doing, query={"groupKey.id": email}))
    if answer is None:
        return None
    name = answer.get("name")
    if not isinstance(name, str) or not name.startswith("groups/"):
        raise _unexpected(doing, "It has no `name`.")
    return name


def is_transitive_member(client: GoogleClient, group: str, email: str) -> bool:
    """Tell whether an account is in a group; `group` is what `find_group` returns."""
    doing = f"find out whether {email} is in {group}"
    path = f"/v1/groups/{segment(group.removeprefix('groups/'))}/memberships:checkTransitiveMembership"
    # A CEL string.
    quoted = email.replace("\\", r"\\").replace("'", r"\'")
    answer = client.find(Request("GET", _SERVICE, path, doing, query={"query": f"member_key_id == '{quoted}'"}))
    if answer is None:
        return False  # the group is gone
    found = answer.get("hasMembership", False)
    if not isinstance(found, bool):
        raise _unexpected(doing, "Its `hasMembership` is not true or false.")
    return found


def _unexpected(doing: str, why: str) -> UnexpectedAnswerError:
    return UnexpectedAnswerError(f"Google's answer to the request to {doing} makes no sense.", why)
