# SPDX-License-Identifier: Apache-2.0
"""The fields in which a thing is not as it is wanted. Pure."""

import json
from collections.abc import Mapping

from podpass.federate.model.change import FieldChange
from podpass.federate.model.resource import JSON


def differences(wanted: Mapping[str, JSON], found: Mapping[str, JSON]) -> tuple[FieldChange, ...]:
    """Return the wanted fields whose value differs; what is not wanted is not looked at."""
    pairs = ((name, found.get(name), value) for name, value in wanted.items())
    return tuple(FieldChange(name, before, after) for name, before, after in pairs if not _same(name, before, after))


def _same(name: str, before: JSON, after: JSON) -> bool:
    """Compare as the owner of the value does: Google leaves out what is empty; a key set is the same in any order, with any spaces."""
    if name == "oidc.jwksJson" and before and after:
        return bool(_json(before) == _json(after))
    return bool(before == after or (not before and not after))


def _json(text: str) -> JSON:
    """Read a key set. Each API server lists the keys in the order of its own flags, so the order says nothing."""
    try:
        value = json.loads(text)
        return {**value, "keys": sorted(value["keys"], key=lambda key: json.dumps(key, sort_keys=True))}
    except (ValueError, KeyError, TypeError):
        return text
