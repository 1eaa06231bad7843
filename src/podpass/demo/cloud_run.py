# SPDX-License-Identifier: Apache-2.0
"""What a person does to a service of Cloud Run in a story with gcloud, done over the same API."""

from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Final

from podpass.demo.story import StoryError
from podpass.google.policy import CONDITIONS_VERSION, Policy, add_member, remove_member
from podpass.google.policy_edit import edit_policy
from podpass.google.rest import GoogleClient, Json, Request

INVOKER: Final = "roles/run.invoker"
_PATIENCE_S, _POLL_S = 60.0, 0.1


@dataclass(frozen=True, slots=True)
class RunService:
    """A service; a `PolicyHolder`."""

    client: GoogleClient
    project: str
    region: str
    name: str

    def __str__(self) -> str:
        return f"the service {self.name}"

    def deploy(self, image: str, variables: Mapping[str, str]) -> None:
        """Make it, and wait until it serves.

        Raises:
            StoryError: It does not within a minute.
        """
        container = {"image": image, "env": [{"name": name, "value": value} for name, value in variables.items()]}
        body = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": self.name, "namespace": self.project},
            "spec": {"template": {"spec": {"containers": [container]}}},
        }
        self.client.call(self._request("POST", "", "deploy", body))
        deadline = monotonic() + _PATIENCE_S
        while (ready := self._condition())["status"] != "True":
            if ready["status"] == "False" or monotonic() > deadline:
                raise StoryError(f"The service {self.name} does not serve.", ready.get("message", ""), "Mend what is named here.")
            sleep(_POLL_S)

    def delete(self) -> None:
        """Delete it again, with its policy."""
        self.client.call(self._request("DELETE", f"/{self.name}", "delete"))

    def admit(self, member: str) -> None:
        """Add a member to its invokers."""
        edit_policy(self, lambda policy: add_member(policy, INVOKER, member), just_created=True)

    def dismiss(self, member: str) -> None:
        """Take a member from its invokers."""
        edit_policy(self, lambda policy: remove_member(policy, INVOKER, member))

    def read_policy(self) -> Policy:
        """Return its policy with its conditions."""
        query = {"options.requestedPolicyVersion": str(CONDITIONS_VERSION)}
        return self.client.call(Request("GET", self._host, f"{self._path}:getIamPolicy", f"read the policy of {self}", query=query))

    def write_policy(self, policy: Policy) -> Policy:
        """Write the whole policy under its etag."""
        body = {"policy": policy}
        return self.client.call(Request("POST", self._host, f"{self._path}:setIamPolicy", f"change the policy of {self}", body=body))

    @property
    def _host(self) -> str:
        return f"{self.region}-run"

    @property
    def _path(self) -> str:
        return f"/v1/projects/{self.project}/locations/{self.region}/services/{self.name}"

    def _condition(self) -> Json:
        found = self.client.call(self._request("GET", f"/{self.name}", "read"))
        (ready,) = (each for each in found["status"]["conditions"] if each["type"] == "Ready")
        return dict(ready)

    def _request(self, verb: str, path: str, doing: str, body: Json | None = None) -> Request:
        collection = f"/apis/serving.knative.dev/v1/namespaces/{self.project}/services"
        return Request(verb, self._host, collection + path, f"{doing} {self}", body=body)
