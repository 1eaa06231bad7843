# SPDX-License-Identifier: Apache-2.0
"""The node agent: a small kubelet that runs pods as processes of this machine, for any API server.

`agent` registers the node, binds the pods that wait for one (there is no scheduler) and gives each a `pod`, which lives the pod's life.
`pod_sandbox` is what its containers start in: `node_network`, `pod_network`, `pause` and `relay` give it a network of its own, `volumes`
and `sources` write what its containers read, `mounts`, `lease` and `shim` lay it where they look for it. `pod_containers` says which runs
before which; `environment`, `containers` and `probes` start, watch and restart them, `status` says how they are. `kubelet` serves their
logs to the API server.

What is not here: lifecycle hooks, resource limits, other users than the sandbox's own, ways from pod to pod but by published ports.
"""

from podpass.sandbox.node.agent import NODE_NAME, NodeAgent
from podpass.sandbox.node.images import Image, Images

__all__ = ["NODE_NAME", "Image", "Images", "NodeAgent"]
