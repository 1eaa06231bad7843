# SPDX-License-Identifier: Apache-2.0
"""The node's own server, which the API server asks for logs; it answers as kubelet does."""

from collections.abc import Callable
from datetime import datetime, timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from podpass.clock import Clock
from podpass.sandbox.node.containers import Container
from podpass.sandbox.node.logs import LogOptions
from podpass.sandbox.node.pod import Pod

FindPod = Callable[[str, str], Pod | None]
"""Return this node's pod of a namespace and name."""


def application(find: FindPod, clock: Clock) -> Starlette:
    """Return the server's ASGI application."""

    def logs(request: Request) -> Response:
        namespace, name, container_name = (request.path_params[key] for key in ("namespace", "pod", "container"))
        pod = find(namespace, name)
        container = pod.container(container_name) if pod else None
        if container is None:
            missing = f'pod "{name}"' if pod is None else f'container "{container_name}" in pod "{name}"'
            return PlainTextResponse(f"{missing} not found\n", 404)
        try:
            options = _options(request, clock.now())
        except ValueError as error:
            return PlainTextResponse(f"invalid query: {error}\n", 400)
        return _answer(container, name, options, previous=_flag(request, "previous"))

    return Starlette(
        routes=[Route("/healthz", lambda _: PlainTextResponse("ok")), Route("/containerLogs/{namespace}/{pod}/{container}", logs)]
    )


def _answer(container: Container, pod: str, options: LogOptions, *, previous: bool) -> Response:
    log = container.previous_log if previous else container.log
    if log is not None:
        return StreamingResponse(log.read(options), media_type="text/plain")
    if previous:
        return PlainTextResponse(f'previous terminated container "{container.name}" in pod "{pod}" not found\n', 400)
    if reason := container.state.get("waiting", {}).get("reason"):
        return PlainTextResponse(f'container "{container.name}" in pod "{pod}" is waiting to start: {reason}\n', 400)
    return PlainTextResponse(f'the log of container "{container.name}" in pod "{pod}" was lost with the node agent that ran it\n', 404)


def _options(request: Request, now: datetime) -> LogOptions:
    """Read the query as kubelet reads PodLogOptions.

    Raises:
        ValueError: A number or a time is none.
    """
    query = request.query_params
    since = datetime.fromisoformat(query["sinceTime"]) if query.get("sinceTime") else None
    if seconds := query.get("sinceSeconds"):
        since = now - timedelta(seconds=int(seconds))
    return LogOptions(
        follow=_flag(request, "follow"),
        timestamps=_flag(request, "timestamps"),
        tail_lines=_number(query.get("tailLines")),
        limit_bytes=_number(query.get("limitBytes")),
        since=since,
    )


def _flag(request: Request, name: str) -> bool:
    return request.query_params.get(name, "").lower() in {"true", "1"}


def _number(text: str | None) -> int | None:
    return int(text) if text else None
