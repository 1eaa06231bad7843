# SPDX-License-Identifier: Apache-2.0
"""Pods of the namespace `default`, as the administrator of a cluster makes and watches them."""

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from podpass.sandbox.cluster_client import ClusterClient, Object, StatusError

SH = "podpass.dev/test/sh"
PATIENCE_S = 60.0
_T = TypeVar("_T")


class Pods:
    """The hands of an administrator; `client` asks the API server, in the loop in which `run` runs coroutines."""

    client: ClusterClient

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end."""
        raise NotImplementedError

    def make(self, kind: str, name: str, **content: Any) -> Object:  # noqa: ANN401 - JSON
        """Create an object of the namespace `default`."""
        path = "/apis/batch/v1/namespaces/default/jobs" if kind == "jobs" else f"/api/v1/namespaces/default/{kind}"
        return self.run(self.client.post(path, {"metadata": {"name": name, **content.pop("metadata", {})}, **content}))

    def make_pod(self, name: str, script: str, *, container: Object | None = None, metadata: Object | None = None, **spec: Any) -> None:  # noqa: ANN401 - JSON
        """Create a pod with one container, `main`, that runs a shell script."""
        main = {"name": "main", "image": SH, "args": [script], **(container or {})}
        self.make("pods", name, metadata=metadata or {}, spec={"containers": [main], "restartPolicy": "Never", **spec})

    def pod(self, name: str) -> Object:
        return self.run(self.client.get(f"/api/v1/namespaces/default/pods/{name}"))

    def delete_pod(self, name: str, grace_s: int | None = None) -> None:
        options = None if grace_s is None else {"gracePeriodSeconds": grace_s}
        self.run(self.client.delete(f"/api/v1/namespaces/default/pods/{name}", options))

    def is_gone(self, name: str) -> bool:
        try:
            self.pod(name)
        except StatusError as error:
            return error.status_code == 404
        return False

    def log(self, name: str, **query: str) -> str:
        return self.run(self.client.text(f"/api/v1/namespaces/default/pods/{name}/log", **query))

    def log_or_nothing(self, name: str) -> str:
        """Return what a pod has said so far, if it says anything yet."""
        try:
            return self.log(name)
        except StatusError:
            return ""

    def ended(self, name: str) -> Object:
        """Wait until a pod has ended; return it."""
        return self.until(lambda: self.pod(name), lambda pod: pod["status"]["phase"] in {"Succeeded", "Failed"})

    def output(self, name: str) -> str:
        """Wait until a pod has succeeded; return what it wrote."""
        phase = self.ended(name)["status"]["phase"]
        assert phase == "Succeeded", f"{name} is {phase}: {self.log(name)}"
        return self.log(name)

    def events(self, name: str) -> Mapping[str, str]:
        """Return the messages of a pod's events by reason."""
        found = self.run(self.client.get("/api/v1/namespaces/default/events"))["items"]
        return {event["reason"]: event["message"] for event in found if event["involvedObject"]["name"] == name}

    @staticmethod
    def until(get: Callable[[], _T], holds: Callable[[_T], object]) -> _T:
        """Ask again and again until the answer is as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            value = get()
            if holds(value):
                return value
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:.0f} s; the last answer was {value}"
            time.sleep(0.05)
