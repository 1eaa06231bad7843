# SPDX-License-Identifier: Apache-2.0
"""The node agent: a small kubelet that runs pods as processes of this machine, for any API server.

`agent` registers the node, binds the pods that wait for one (there is no scheduler) and gives each a `pod`, which lives the pod's life:
`volumes` and `sources` write what its containers read, `mounts`, `lease` and `shim` lay it where they look for it, `environment` and
`containers` start and restart them, `status` says how they are. `kubelet` serves their logs to the API server.

What is not here: probes (a container is ready as soon as it runs), lifecycle hooks, sidecars that outlive an init step, resource limits,
other users than the sandbox's own, networks. A pod's containers share the machine's address.
"""

from podpass.sandbox.node.agent import NODE_NAME, NodeAgent
from podpass.sandbox.node.images import Image, Images

__all__ = ["NODE_NAME", "Image", "Images", "NodeAgent"]
