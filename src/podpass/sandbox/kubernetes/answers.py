# SPDX-License-Identifier: Apache-2.0
"""Answers of the API server, as JSON: an object, a list."""

from typing import Any

from starlette.responses import Response

from podpass.sandbox.kubernetes.kind import Json, Kind
from podpass.sandbox.kubernetes.request import encoded


def answer(value: Any, code: int = 200, *, kind: str = "application/json", headers: dict[str, str] | None = None) -> Response:  # noqa: ANN401 - JSON
    """Answer with JSON."""
    return Response(encoded(value), code, {"Cache-Control": "no-cache, private", **(headers or {})}, kind)


def listed(kind: Kind, items: list[Json], metadata: Json) -> Json:
    """Return a list; its kind says for all items what they are."""
    bare = [{name: value for name, value in item.items() if name not in {"kind", "apiVersion"}} for item in items]
    return {"kind": f"{kind.name}List", "apiVersion": kind.api_version, "metadata": metadata, "items": bare}
