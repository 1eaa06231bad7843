# SPDX-License-Identifier: Apache-2.0
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from podpass.clock import SteppedClock
from podpass.sandbox.google.catalogue import SERVICES
from podpass.sandbox.google.dispatcher import Dispatcher
from podpass.sandbox.google.message import Answer, Request
from podpass.sandbox.google.universe import Universe
from podpass.sandbox.settings import SandboxSettings

HOST = "storage.googleapis.com"
OWNER, STRANGER = "operator@example.com", "stranger@example.com"


class Cloud:
    """A universe and somebody to ask it: without `who`, an anonymous caller."""

    def __init__(self, directory: Path | None = None) -> None:
        self.clock = SteppedClock(datetime(2026, 1, 2, 3, 4, 5, 678000, UTC))
        self.universe = Universe(SandboxSettings(other_projects=(("elsewhere", "99"),), state_dir=directory), self.clock)
        self.google = Dispatcher(self.universe, SERVICES)

    def ask(self, verb: str, target: str, body: object = b"", *, who: str = "", **headers: str) -> Answer:
        """Send one request; an object as the body goes as JSON."""
        path, _, query = target.partition("?")
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if who:
            fields["authorization"] = f"Bearer {self.universe.identities.user_token(who, [])}"
        return self.google.handle(Request(verb, HOST, path, query, fields, body))

    def own(self, verb: str, target: str, body: object = b"", **headers: str) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Ask as the operator for something that must succeed; return the JSON."""
        answer = self.ask(verb, target, body, who=OWNER, **headers)
        assert answer.status in {200, 204}, answer
        return json.loads(answer.body or b"{}")

    def bucket(self, name: str = "demo", **members: object) -> None:
        self.own("POST", "/storage/v1/b?project=demo-project", {"name": name, **members})

    def uniform_bucket(self, name: str = "demo", **access: object) -> None:
        self.bucket(name, iamConfiguration={"uniformBucketLevelAccess": {"enabled": True}, **access})

    def put(self, name: str, media: bytes = b"media", query: str = "") -> Any:  # noqa: ANN401 - whatever JSON holds
        return self.own("POST", f"/upload/storage/v1/b/demo/o?uploadType=media&name={name}{query}", media, content_type="text/plain")

    def grant(self, role: str, member: str, bucket: str = "demo") -> None:
        policy = self.own("GET", f"/storage/v1/b/{bucket}/iam")
        policy["bindings"].append({"role": role, "members": [member]})
        self.own("PUT", f"/storage/v1/b/{bucket}/iam", policy)
        self.clock.step(self.universe.settings.propagation)


def error(answer: Answer) -> tuple[int, str, str]:
    """Return status, message and reason of a JSON refusal."""
    told = json.loads(answer.body)["error"]
    assert told["code"] == answer.status
    assert told["errors"][0]["message"] == told["message"]
    return answer.status, told["message"], told["errors"][0]["reason"]
