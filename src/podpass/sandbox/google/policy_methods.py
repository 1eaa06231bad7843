# SPDX-License-Identifier: Apache-2.0
"""The three methods that every resource with a policy has: get it, set it, ask what the caller may."""

from podpass.sandbox.google.message import invalid
from podpass.sandbox.google.service import Call
from podpass.sandbox.store import Json


def requested_version(call: Call) -> int:
    """Read the wanted version of a policy, in any of Google's four spellings (google-behaviour: projects)."""
    options = call.json().get("options") if call.request.body else None
    asked = options.get("requestedPolicyVersion") if isinstance(options, dict) else None
    asked = asked or call.query.get("options.requestedPolicyVersion") or call.query.get("optionsRequestedPolicyVersion") or 1
    if str(asked) not in {"0", "1", "2", "3"}:
        raise invalid(f"Invalid requested policy version: {asked}.")
    return int(asked)


def get_policy(call: Call) -> Json:
    """Answer any `getIamPolicy`."""
    return call.universe.policies.read(call.on, requested_version(call))


def set_policy(call: Call) -> Json:
    """Answer a `setIamPolicy` whose body wraps the policy."""
    policy = call.json().get("policy")
    if not isinstance(policy, dict):
        raise invalid("Invalid value at 'policy': it is missing.")
    return call.universe.policies.write(call.on, policy)


def test_permissions(call: Call) -> Json:
    """Answer a `testIamPermissions`: those of the asked permissions that the caller has."""
    asked = call.json().get("permissions") or []
    granted = [each for each in asked if call.may(str(each), call.on)]
    return {"permissions": granted} if granted else {}
