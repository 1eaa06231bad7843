# SPDX-License-Identifier: Apache-2.0
"""Cloud Identity: the declared groups as they are looked up; who is in which is read here and never written (google-behaviour: groups)."""

import hashlib
import re
from typing import Final

from podpass.sandbox.google.caller import CLOUD_PLATFORM
from podpass.sandbox.google.message import Fault, invalid
from podpass.sandbox.google.paging import page
from podpass.sandbox.google.service import Call, Public, Service, method, methods_of
from podpass.sandbox.store import Json

_ID: Final = "cloudidentity.groups"
_MEMBERSHIPS: Final = "/v1/groups/{group}/memberships"
_FORUM: Final = "cloudidentity.googleapis.com/groups.discussion_forum"
_READ: Final = Public(
    "groups show their members to whoever is logged in, here; in life to those that their settings name", authenticated=True
)
_MEMBER: Final = re.compile(r"""\s*member_key_id\s*==\s*(?P<quote>['"])(?P<email>[^'"]+)(?P=quote)\s*(?:&&.*)?""")


def _id(email: str) -> str:
    """Return the id that stands for a group or a member in names."""
    return hashlib.sha256(email.encode()).hexdigest()[:15]


def _denied() -> Fault:
    return Fault(403, "PERMISSION_DENIED", "Error(2028): Permission denied for resource (or it may not exist).")  # [K]


def _group(call: Call) -> str:
    """Return the email of the path's group."""
    found = next((email for email in call.universe.groups.names() if _id(email) == call.params["group"]), None)
    if found is None:
        raise _denied()
    return found


def _asked_member(call: Call) -> str:
    found = _MEMBER.fullmatch(call.query.get("query", ""))
    if not found:
        raise invalid("query: the sandbox reads `member_key_id == 'EMAIL'`, alone or with labels after &&.")
    return found["email"]


def _described(email: str) -> Json:
    return {"groupKey": {"id": email}, "displayName": email.partition("@")[0], "labels": {_FORUM: ""}}


@method(id=f"{_ID}.lookup", verb="GET", path="/v1/groups:lookup", permission=_READ)
def lookup_group(call: Call) -> Json:
    """Find a group's name by its email."""
    email = call.query.get("groupKey.id", "")
    if email not in call.universe.groups.names():
        raise _denied()
    return {"name": f"groups/{_id(email)}"}


@method(id=f"{_ID}.get", verb="GET", path="/v1/groups/{group}", permission=_READ)
def get_group(call: Call) -> Json:
    """Read a group."""
    return {"name": f"groups/{call.params['group']}", **_described(_group(call))}


@method(id=f"{_ID}.memberships.checkTransitiveMembership", verb="GET", path=f"{_MEMBERSHIPS}:checkTransitiveMembership", permission=_READ)
def check_membership(call: Call) -> Json:
    """Tell whether somebody is in a group, also by way of others."""
    return {"hasMembership": True} if _group(call) in call.universe.groups.of(_asked_member(call)) else {}


@method(id=f"{_ID}.memberships.searchTransitiveGroups", verb="GET", path=f"{_MEMBERSHIPS}:searchTransitiveGroups", permission=_READ)
def search_groups(call: Call) -> Json:
    """List every group that somebody is in, also by way of others."""
    if call.params["group"] != "-":
        raise invalid("parent: groups are searched under groups/-.")
    found = sorted(call.universe.groups.of(_asked_member(call)).items())
    items = [
        {"name": _id(email), "group": f"groups/{_id(email)}", "relationType": "DIRECT" if direct else "INDIRECT", **_described(email)}
        for email, direct in found
    ]
    return _unnamed(page(call, "memberships", sorted(items, key=lambda item: str(item["name"])), default=200, most=1000))


@method(
    id=f"{_ID}.memberships.searchTransitiveMemberships", verb="GET", path=f"{_MEMBERSHIPS}:searchTransitiveMemberships", permission=_READ
)
def search_memberships(call: Call) -> Json:
    """List everybody who is in a group, also by way of others."""
    groups, group = call.universe.groups, _group(call)
    direct = groups.members(group)
    every, fresh = set(direct), list(direct)
    while fresh:
        added = set(groups.members(fresh.pop())) - every
        every |= added
        fresh += added
    items = [
        {
            "name": email,
            "member": f"groups/{_id(email)}" if email in groups.names() else f"users/{_id(email)}",
            "preferredMemberKey": [{"id": email}],
            "relationType": "DIRECT" if email in direct else "INDIRECT",
        }
        for email in sorted(every)
    ]
    return _unnamed(page(call, "memberships", items, default=200, most=1000))


def _unnamed(answer: Json) -> Json:
    """Take off what only gave the order."""
    return {
        **answer,
        **{key: [{k: v for k, v in each.items() if k != "name"} for each in answer[key]] for key in answer if key == "memberships"},
    }


SERVICE = Service(
    name="cloudidentity.googleapis.com",
    title="Cloud Identity API",
    discovery="cloudidentity.v1",
    scopes=(CLOUD_PLATFORM, *(f"https://www.googleapis.com/auth/cloud-identity.groups{suffix}" for suffix in ("", ".readonly"))),
    methods=methods_of(__name__),
)
