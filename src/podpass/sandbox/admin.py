# SPDX-License-Identifier: Apache-2.0
"""The sandbox's own door, beside Google's and Kubernetes': what it holds, what was asked of it, and what no API of theirs offers.

HTTP on loopback with a bearer token, both in the environment of a logged-in process: `PODPASS_SANDBOX_ADMIN` and
`PODPASS_SANDBOX_ADMIN_TOKEN`.

=======================  ====================================================================================================
GET /dump                everything that was declared, in a stable form
GET /requests            the requests to Google's side, oldest first
POST /settings           ``{"propagation_s"?, "latency_ms"?}``
GET /faults              how often each rule of the faults has matched and struck
PUT /faults              a faults file: in effect as of now, in place of those so far
DELETE /faults           fair weather
PUT /groups              ``{"team@example.com": ["someone@example.com"]}``: groups that have exactly these members as of now
GET /run/logs            what the services of Cloud Run have written, by ``project/region/name``
POST /cluster/restart    ``{"issuer"?, "acceptedIssuers"?, "newKey"?, "keepOldKeys"?, "announceKey"?, "signWithAnnounced"?}``:
                         the API server with other flags, as in life
=======================  ====================================================================================================
"""

import hmac
from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec

from podpass.config.mistakes import FileMistakesError
from podpass.sandbox.cluster import Cluster, IssuerChange
from podpass.sandbox.google.message import Answer, Fault, Receive, Request, Scope, Send, read_request
from podpass.sandbox.google.run.instances import Instances
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.store import Json


class _Settings(msgspec.Struct, forbid_unknown_fields=True):
    propagation_s: float | None = None
    latency_ms: float | None = None


async def dump_of(universe: Universe, cluster: Cluster | None) -> Json:
    """Return everything that was declared, on both sides, in a stable form."""
    dump: Json = {"google": universe.dump()}
    if cluster:
        dump["kubernetes"] = await cluster.dump()
    return dump


ChangeFaults = Callable[[bytes | None], Awaitable[None]]
"""Puts the faults of a file's bytes into effect; None ends them."""


class AdminApp:
    """The ASGI application behind the door.

    Args:
        universe: Google's side.
        cluster: Kubernetes' side, if the sandbox has one of its own.
        instances: The processes of Cloud Run's services.
        change_faults: Puts a faults file into effect; None: fair weather.
        token: The bearer token that callers show.
    """

    def __init__(
        self,
        universe: Universe,
        cluster: Cluster | None,
        instances: Instances,
        change_faults: ChangeFaults,
        token: str,
    ) -> None:
        self._instances = instances
        self._universe = universe
        self._cluster = cluster
        self._set_faults = change_faults
        self._token = token
        self._routes: dict[tuple[str, str], Callable[[bytes], Awaitable[Json]]] = {
            ("GET", "/dump"): self._dump,
            ("GET", "/requests"): self._requests,
            ("GET", "/faults"): self._faults,
            ("PUT", "/faults"): self._change_faults,
            ("DELETE", "/faults"): lambda _: self._change_faults(None),
            ("POST", "/settings"): self._change_settings,
            ("PUT", "/groups"): self._declare_groups,
            ("GET", "/run/logs"): self._run_logs,
            ("POST", "/cluster/restart"): self._restart_cluster,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request of an ASGI server."""
        await (await self._answer(await read_request(scope, receive))).send(send)

    async def _answer(self, request: Request) -> Answer:
        shown = request.headers.get("authorization", "")
        if not hmac.compare_digest(shown.encode(), f"Bearer {self._token}".encode()):
            return Answer.json({"error": "the token of PODPASS_SANDBOX_ADMIN_TOKEN is wanted as a bearer token"}, 401)
        route = self._routes.get((request.verb, request.path))
        if route is None:
            return Answer.json({"error": f"no {request.verb} {request.path}", "routes": [" ".join(each) for each in self._routes]}, 404)
        try:
            return Answer.json(await route(request.body))
        except msgspec.DecodeError as error:
            return Answer.json({"error": str(error)}, 400)
        except FileMistakesError as error:
            return Answer.json({"error": error.why.splitlines()}, 400)
        except Fault as fault:
            return Answer.json({"error": fault.message}, fault.code)

    async def _dump(self, _body: bytes) -> Json:
        return await dump_of(self._universe, self._cluster)

    async def _requests(self, _body: bytes) -> Json:
        return {"requests": self._universe.log.entries()}

    async def _faults(self, _body: bytes) -> Json:
        return self._universe.weather.report()

    async def _change_faults(self, body: bytes | None) -> Json:
        await self._set_faults(body)
        return self._universe.weather.report()

    async def _change_settings(self, body: bytes) -> Json:
        asked = msgspec.json.decode(body, type=_Settings)
        self._universe.change_settings(
            propagation=None if asked.propagation_s is None else timedelta(seconds=asked.propagation_s),
            latency=None if asked.latency_ms is None else timedelta(milliseconds=asked.latency_ms),
        )
        settings = self._universe.settings
        return {"propagation_s": settings.propagation.total_seconds(), "latency_ms": settings.latency.total_seconds() * 1000}

    async def _declare_groups(self, body: bytes) -> Json:
        for group, members in msgspec.json.decode(body, type=dict[str, list[str]]).items():
            self._universe.groups.declare(group, members)
        return {"groups": self._universe.groups.names()}

    async def _run_logs(self, _body: bytes) -> Json:
        return self._instances.logs()

    async def _restart_cluster(self, body: bytes) -> Json:
        change = msgspec.json.decode(body or b"{}", type=IssuerChange)
        if self._cluster is None:
            raise Fault(409, "FAILED_PRECONDITION", "this sandbox has no cluster of its own")
        await self._cluster.restart(change)
        return {"issuers": self._cluster.issuers}
