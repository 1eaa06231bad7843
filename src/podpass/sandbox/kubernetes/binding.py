# SPDX-License-Identifier: Apache-2.0
"""The `binding` subresource of pods: a scheduler's word."""

from starlette.responses import Response

from podpass.sandbox.kubernetes.answers import answer
from podpass.sandbox.kubernetes.kind import timestamp
from podpass.sandbox.kubernetes.kinds import POD
from podpass.sandbox.kubernetes.objects import Objects
from podpass.sandbox.kubernetes.request import ApiRequest
from podpass.sandbox.kubernetes.status import conflict, invalid, invalid_value


async def bind(objects: Objects, request: ApiRequest) -> Response:
    """Give a pod the node that the request names.

    Raises:
        StatusError: 404; 409, it has one; 422, that is no node.
    """
    target, action = (await request.body()).get("target") or {}, request.action
    if target.get("kind", "Node") != "Node" or not target.get("name"):
        raise invalid("Binding", "", action.name, [invalid_value("target.kind", target.get("kind", ""), "must be Node")])
    pod = objects.get(POD, action.namespace, action.name)
    if pod["spec"].get("nodeName"):
        why = f'pod {action.name} is already assigned to node "{pod["spec"]["nodeName"]}"'
        raise conflict("pods/binding", "", action.name, why)
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": timestamp(objects.clock.now())}
    pod["spec"]["nodeName"] = target["name"]
    pod["status"]["conditions"] = [*(pod["status"].get("conditions") or ()), scheduled]
    if not request.dry_run:
        objects.amend(POD, pod)
    return answer({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, 201)
