# SPDX-License-Identifier: Apache-2.0
"""`pods/NAME/log`: asked of the node that the pod is on, over TLS at the address that the node's own object gives."""

from collections.abc import AsyncIterator, Mapping

import httpx2
from starlette.responses import Response, StreamingResponse

from podpass.sandbox.kubernetes.kind import Json
from podpass.sandbox.kubernetes.kinds import NODE, POD
from podpass.sandbox.kubernetes.kinds.pod_spec import containers_of
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.status import StatusError

_FORWARDED = ("follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes")


async def read(objects: Objects, namespace: str, name: str, query: Mapping[str, str], to_nodes: httpx2.AsyncClient) -> Response:
    """Answer with the log of one container, as it comes when it is followed.

    Raises:
        StatusError: 400 for the container; what the node answers; 500, the node cannot be reached.
    """
    pod = objects.get(POD, namespace, name)
    container = _container(pod, query.get("container", ""))
    if not pod["spec"].get("nodeName"):
        return Response(status_code=204)  # not scheduled: nobody has a log
    url = f"{_address(objects, pod['spec']['nodeName'])}/containerLogs/{namespace}/{name}/{container}"
    wanted = {option: query[option] for option in _FORWARDED if option in query}
    try:
        answer = await to_nodes.send(to_nodes.build_request("GET", url, params=wanted), stream=True)
    except httpx2.HTTPError as error:
        raise StatusError(500, f'Get "{url}": {type(error).__name__}: {error}') from error
    if answer.is_error:
        text = (await answer.aread()).decode(errors="replace").strip()
        raise StatusError(answer.status_code if answer.status_code in {400, 404} else 500, text)
    return StreamingResponse(_chunks(answer), media_type="text/plain")


async def _chunks(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    except httpx2.HTTPError:
        return  # the node went away: the log ends here
    finally:
        await answer.aclose()


def _container(pod: Json, asked: str) -> str:
    name = pod["metadata"]["name"]
    if asked and asked not in {container["name"] for container in containers_of(pod["spec"])}:
        raise StatusError(400, f"container {asked} is not valid for pod {name}")
    main, init = ([container["name"] for container in pod["spec"].get(kind) or ()] for kind in ("containers", "initContainers"))
    if not asked and len(main) > 1:
        further = f" or one of the init containers: [{' '.join(init)}]" if init else ""
        raise StatusError(400, f"a container name must be specified for pod {name}, choose one of: [{' '.join(main)}]{further}")
    return asked or str(main[0])


def _address(objects: Objects, node_name: str) -> str:
    status = objects.get(NODE, "", node_name).get("status") or {}
    addresses = {row["type"]: row["address"] for row in status.get("addresses") or ()}
    host = addresses.get("InternalIP") or addresses.get("Hostname")
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port")
    if not host or not port:
        raise StatusError(500, f"no preferred addresses found for node {node_name}")
    return f"https://{host}:{port}"
