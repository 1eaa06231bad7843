# SPDX-License-Identifier: Apache-2.0
"""A sandbox with services of Cloud Run, and a client for them."""

import json
import ssl
import sys
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Any, Self

import httpx2

from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.node.images import Image

IMAGE = "test/echo"
IMAGES = {IMAGE: Image(IMAGE, (sys.executable, "-I", "-S", str(Path(__file__).with_name("echo_server.py"))))}
_API = "https://us-central1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/demo-project/services"
_POLICIES = "https://run.googleapis.com/v1/projects/demo-project/locations/us-central1/services"
_PATIENCE_S = 60.0


class Running:
    """Deploys, asks and waits."""

    def __init__(self, side: HostedSandbox) -> None:
        self.side = side
        environment = side.environment()
        context = ssl.create_default_context(cafile=environment["SSL_CERT_FILE"])
        self.client = httpx2.Client(proxy=environment["HTTPS_PROXY"], verify=context, trust_env=False, timeout=60)
        self.owner = {"Authorization": f"Bearer {side.universe.identities.user_token('operator@example.com', [])}"}
        self._admin = environment["PODPASS_SANDBOX_ADMIN"], {"Authorization": f"Bearer {environment['PODPASS_SANDBOX_ADMIN_TOKEN']}"}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()

    def api(self, verb: str, url: str, body: object = None) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Ask Cloud Run's API as the owner for something that must succeed."""
        answer = self.client.request(verb, url, headers=self.owner, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def deploy(self, name: str, image: str = IMAGE, **env: str) -> None:
        """Make a service, or replace it."""
        variables = [{"name": key, "value": value} for key, value in env.items()]
        spec = {"template": {"spec": {"containers": [{"image": image, "env": variables}]}}}
        body = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}
        there = self.client.get(f"{_API}/{name}", headers=self.owner).status_code == 200
        self.api("PUT" if there else "POST", f"{_API}/{name}" if there else _API, body)

    def delete(self, name: str) -> None:
        """Delete a service."""
        self.api("DELETE", f"{_API}/{name}")

    def let(self, name: str, *members: str) -> None:
        """Let exactly these invoke a service."""
        policy = {"bindings": [{"role": "roles/run.invoker", "members": list(members)}]}
        self.api("POST", f"{_POLICIES}/{name}:setIamPolicy", {"policy": policy})

    def status(self, name: str) -> Any:  # noqa: ANN401 - as above
        """Return a service's status."""
        return self.api("GET", f"{_API}/{name}")["status"]

    def ready(self, name: str) -> tuple[str, str]:
        """Return the state of the condition Ready, and its message."""
        condition = self.status(name)["conditions"][0]
        return condition["status"], condition.get("message", "")

    def until_ready(self, name: str, wanted: str = "True") -> str:
        """Wait for a state of the condition; return its message."""
        deadline = monotonic() + _PATIENCE_S
        while (found := self.ready(name))[0] != wanted:
            assert monotonic() < deadline, found
            sleep(0.02)
        return found[1]

    def url(self, name: str) -> str:
        """Return the service's URL."""
        return str(self.status(name)["url"])

    def echo(self, name: str, path: str = "/", **more: Any) -> Any:  # noqa: ANN401 - as above
        """Ask a service that echoes."""
        answer = self.client.request(more.pop("method", "GET"), self.url(name) + path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def credentials(self) -> dict[str, str]:
        """Return the logged-in user's refresh token and client."""
        file = json.loads(Path(self.side.environment()["GOOGLE_APPLICATION_CREDENTIALS"]).read_text())
        return {name: str(file[name]) for name in ("client_id", "client_secret", "refresh_token")}

    def log(self, name: str) -> str:
        """Return what the service's process has written."""
        origin, headers = self._admin
        logs = json.loads(httpx2.get(f"{origin}/run/logs", headers=headers, trust_env=False, timeout=60).text)
        return str(logs[f"demo-project/us-central1/{name}"])
