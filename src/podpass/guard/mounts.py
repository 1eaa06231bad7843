# SPDX-License-Identifier: Apache-2.0
"""What an ASGI application makes of its mount by itself, whatever its server says.

A router leaves the mount out of the path. Where the guard took another mount than the router, one handler would have two addresses, and a
rule for the one would not hold for the other. Two things make a difference:

- FastAPI with a `root_path`, and Django with `FORCE_SCRIPT_NAME`, take that for their mount and ask no server.
- Some routers cut the path behind the mount wherever they find it, and not only at its beginning.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

# Middleware of Starlette's kind keeps what it surrounds under this name; more of it than this is a circle.
_INNER: Final = "app"
_LAYERS_LIMIT: Final = 64
_FASTAPI: Final = "fastapi.applications"
_DJANGO: Final = "django.core.handlers.asgi"
# Litestar to this day (2.25), Quart 0.19 and 0.20.
_CUTTING: Final = ("litestar", "starlite", "quart")


def own_mount(app: object) -> Callable[[], str] | None:
    """Return what tells the mount that an application gives itself, perhaps none at the moment; None for one that never does."""
    for layer in _layers(app):
        homes = {kind.__module__ for kind in type(layer).__mro__}
        if _FASTAPI in homes:  # others have a `root_path` as well: to Quart it is a folder
            return partial(_root_path, layer)
        if _DJANGO in homes:
            return _django_mount
    return None


def cuts_anywhere(app: object) -> bool:
    """Tell whether a router looks for its mount in the whole path."""
    return any(kind.__module__.partition(".")[0] in _CUTTING for layer in _layers(app) for kind in type(layer).__mro__)


def _root_path(app: Any) -> str:  # noqa: ANN401 - FastAPI; read each time, since it may be set at any time
    return str(app.root_path)


def _layers(app: object) -> Iterator[object]:
    for _ in range(_LAYERS_LIMIT):
        if app is None:
            return
        yield app
        app = getattr(app, _INNER, None)


def _django_mount() -> str:
    return str(getattr(sys.modules["django.conf"].settings, "FORCE_SCRIPT_NAME", None) or "")
