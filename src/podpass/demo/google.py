# SPDX-License-Identifier: Apache-2.0
"""The second article's second half, walked: Cloud Run admits the members of a service's invoker role, and a client elsewhere becomes one.

As in the article, `/` is exposed and `/private` guarded by the cluster's issuer, whose keys are public: in a bucket, as in the first one.
The client's identity at Google comes from podpass's metadata server in its pod. Every answer is one of Cloud Run's front door, or of the
service behind it, to a real request; those of the client are read in its pod's log.
"""

import json
import os
import re
import shutil
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep
from typing import Final

import httpx2

from podpass.config.federation import Federation
from podpass.config.reading import load
from podpass.demo import admissions, cluster, manifests
from podpass.demo.admissions import PATHS, Admissions, Row
from podpass.demo.answers import Answer
from podpass.demo.cloud_run import RunService
from podpass.demo.images import AUTH_SERVER
from podpass.demo.stage import Stage, operator, staged
from podpass.demo.story import NotHereError, Step, Story
from podpass.federate.execution import destroy as taking
from podpass.federate.execution.apply import apply
from podpass.federate.planning.prepared import prepare
from podpass.federate.records.receipt import NAMESPACE as RECEIPT_NAMESPACE
from podpass.federate.safety.allowances import Allowances
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient, Request
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.node import pod_network
from podpass.sandbox.settings import SandboxSettings

FILES: Final = Path(__file__).parent / "second_article_google"
_EXAMPLE: Final = "examples/second-article-google"
_NAMESPACE: Final = "id-namespace"
_CLIENT: Final = "auth-client"
_SERVER: Final = "auth-server"
_REGION: Final = "us-central1"
_ANNOTATION: Final = "iam.gke.io/gcp-service-account"
_PROPAGATION: Final = timedelta(seconds=1)
_PATIENCE_S: Final = 30.0
_SAID: Final = re.compile(r"GET (/\S*) (\d{3})(?: (.*))?")


def tell(*, control_plane: Path | None = None) -> Story:
    """Walk the story in a sandbox of its own.

    Args:
        control_plane: The directory of a real control plane; None: the built-in API server.

    Raises:
        NotHereError: This machine gives pods no networks of their own, without which a metadata server would answer all of them.
        StoryError: It did not go as it should have.
    """
    if not pod_network.choose():
        raise NotHereError("The story google cannot be told on this machine: it gives pods no networks of their own.", "", pod_network.CURE)
    story = Story("google")
    settings = SandboxSettings(propagation=_PROPAGATION, control_plane=control_plane)
    with staged(settings) as stage, operator() as google, _files() as folder, _browser() as http:
        _Walk(story, stage, google, http, folder).walk()
    return story


@contextmanager
def _files() -> Iterator[Path]:
    """Copy the manifests, since IDENTITY in `endpoint.env` changes on the way."""
    with TemporaryDirectory(prefix="podpass-demo-") as directory:
        yield Path(shutil.copytree(FILES, Path(directory) / FILES.name))


@contextmanager
def _browser() -> Iterator[httpx2.Client]:
    """Ask as anybody on the internet would, by the way that the sandbox's environment says."""
    with httpx2.Client(verify=ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"]), timeout=20) as http:
        yield http


@dataclass(slots=True)
class _Walk:
    """The steps of the story, in order."""

    story: Story
    stage: Stage
    google: GoogleClient
    http: httpx2.Client
    folder: Path
    table: Admissions = field(default_factory=Admissions)

    @property
    def kube(self) -> KubeClient:
        return self.stage.kube

    @property
    def federation(self) -> Federation:
        return load(self.folder / "podpass.yaml")

    @property
    def service(self) -> RunService:
        return RunService(self.google, self.federation.google.project, _REGION, _SERVER)

    @property
    def account(self) -> str:
        found = self.federation.workloads[0].google_service_account
        assert found is not None
        return found.email

    @property
    def endpoint(self) -> str:
        return self._variables()["SERVICE_ENDPOINT"]

    def walk(self) -> None:
        before = self.stage.sandbox.dump()
        self._federate()
        self._deploy()
        self._open()
        self._close()
        self._account()
        self._stranger()
        self._member()
        self._both()
        self.story.results["admissions"] = self.table.as_json()
        self.story.conclude("Who was let in:", *self.table.lines())
        self.story.faults += self.table.faults()
        self._clean_up()
        self.stage.compare(self.story, before)

    def _federate(self) -> None:
        issuer = str(self.federation.issuer.url)
        with self.story.step("The cluster's keys are published, and Google trusts them", "podpass apply") as step:
            self._apply(step, self._without_account())
        with self.story.step("The cluster signs in the name of the published issuer") as step:
            self.stage.restart(IssuerChange(issuer=issuer))
            step.say(f"Tokens now carry iss {issuer}.")

    def _deploy(self) -> None:
        issuer, audience = str(self.federation.issuer.url), self.endpoint
        command = (
            f"gcloud run deploy {_SERVER} --image {AUTH_SERVER} --region {_REGION} --allow-unauthenticated "
            f"--set-env-vars ID_ISSUER={issuer},JWT_AUDIENCE={audience}"
        )
        with self.story.step("A server on Cloud Run, for everybody; its guard admits the cluster's tokens to /private", command) as step:
            self.service.deploy(AUTH_SERVER, {"ID_ISSUER": issuer, "JWT_AUDIENCE": audience})
            self.service.admit("allUsers")
            step.say(self.endpoint)
            self._ask(step, admissions.ALL_NONE)

    def _open(self) -> None:
        with self._client("The client, with the cluster's identity", "cluster") as step:
            self._listen(step, admissions.ALL_CLUSTER)

    def _close(self) -> None:
        command = f"gcloud run services remove-iam-policy-binding {_SERVER} --member allUsers --role roles/run.invoker --region {_REGION}"
        with self.story.step("Only members of the invoker role shall be let in, and there is none", command) as step:
            self.service.dismiss("allUsers")
            self._ask(step, admissions.NOBODY_NONE)
            self._listen(step, admissions.NOBODY_CLUSTER)
            step.say("Cloud Run knows the cluster's token for a foreign one; the service behind it is not asked any more.")

    def _account(self) -> None:
        with self.story.step("A Google service account that the workload may act as", "podpass apply") as step:
            self._apply(step, self.federation)
        command = f"kubectl annotate serviceaccount gke-sa -n {_NAMESPACE} {_ANNOTATION}={self.account}"
        with self.story.step("The Kubernetes account names it", command):
            path = f"/api/v1/namespaces/{_NAMESPACE}/serviceaccounts/gke-sa"
            found = self.kube.call(Request("GET", path, "read the service account gke-sa"))
            found["metadata"].setdefault("annotations", {})[_ANNOTATION] = self.account
            self.kube.call(Request("PUT", path, "annotate the service account gke-sa", body=found))

    def _stranger(self) -> None:
        with self._client("The client, with Google's identity: an ID token of that account, from the metadata server", "google") as step:
            self._listen(step, admissions.NOBODY_GOOGLE)

    def _member(self) -> None:
        member = f"serviceAccount:{self.account}"
        command = f"gcloud run services add-iam-policy-binding {_SERVER} --member {member} --role roles/run.invoker --region {_REGION}"
        with self.story.step("The account becomes a member of the invoker role", command) as step:
            self.service.admit(member)
            self._listen(step, admissions.ACCOUNT_GOOGLE)
            step.say("Cloud Run lets it in. The guard knows the cluster's issuer only: no token is issued by two.")
            self._ask(step, admissions.ACCOUNT_NONE)

    def _both(self) -> None:
        with self._client("The client, with both identities, each in a header of its own", "google+cluster") as step:
            self._listen(step, admissions.ACCOUNT_BOTH)

    def _clean_up(self) -> None:
        with self.story.step(
            "Everything is taken away", f"kubectl delete -k {_EXAMPLE}; gcloud run services delete …; podpass destroy"
        ) as step:
            step.say(*manifests.delete(self.kube, self.folder))
            self.service.delete()
            self.stage.restart(IssuerChange(issuer=self.stage.cluster.issuers[-1], accepted_issuers=()))
            made = taking.destroy(taking.prepare(self.federation, self.google, self.kube)).changes
            step.say(*(f"- {change.address}" for change in made))
            cluster.delete_namespace(self.kube, RECEIPT_NAMESPACE)

    def _without_account(self) -> Federation:
        """Return the federation as it was before anybody thought of Google's identities."""
        federation = self.federation
        workloads = tuple(replace(each, google_service_account=None) for each in federation.workloads)
        return replace(federation, workloads=workloads)

    def _apply(self, step: Step, federation: Federation) -> None:
        applied = apply(prepare(federation, self.google, self.kube), Allowances())
        step.say(*(f"+ {change.address}" for change in applied.changes))

    @contextmanager
    def _client(self, title: str, identity: str) -> Iterator[Step]:
        """Start the client's pod with another identity."""
        with self.story.step(title, f"IDENTITY={identity} in endpoint.env; kubectl apply -k {_EXAMPLE}") as step:
            variables = self._variables() | {"IDENTITY": identity}
            (self.folder / "endpoint.env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
            cluster.delete_pod_if_there(self.kube, _NAMESPACE, _CLIENT)
            manifests.apply(self.kube, self.folder)
            cluster.until(self.kube, lambda: bool(cluster.log_of(self.kube, _NAMESPACE, _CLIENT)), "the client to say something")
            yield step

    def _variables(self) -> dict[str, str]:
        lines = (self.folder / "endpoint.env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    def _ask(self, step: Step, row: Row) -> None:
        """Ask without a token until the answers are as wanted, or patience ends: a changed policy takes a moment to come into effect."""

        def asked() -> Mapping[str, Answer]:
            return {
                path: _answer(response.status_code, response.text) for path in PATHS for response in [self.http.get(self.endpoint + path)]
            }

        self._note(step, row, asked)

    def _listen(self, step: Step, row: Row) -> None:
        """Read the same from what the client's pod writes from now on."""
        heard = len(cluster.log_of(self.kube, _NAMESPACE, _CLIENT))

        def said() -> Mapping[str, Answer]:
            lines = cluster.log_of(self.kube, _NAMESPACE, _CLIENT)[heard:]
            found = [match for line in lines if (match := _SAID.fullmatch(line))]
            return {match[1]: _answer(int(match[2]), match[3] or "") for match in found}

        self._note(step, row, said)
        # Without Cloud Run's pages for people.
        step.say(*(line.partition(" <html>")[0] for line in cluster.log_of(self.kube, _NAMESPACE, _CLIENT)[-2:]))

    def _note(self, step: Step, row: Row, answers: Callable[[], Mapping[str, Answer]]) -> None:
        deadline = monotonic() + _PATIENCE_S
        while (found := answers()) != row.wanted and monotonic() < deadline:
            sleep(0.1)
        self.table.answers[row] = found
        step.say(*(f"GET {path}, identity: {row.identity} -> {found.get(path)}" for path in PATHS))


def _answer(status: int, text: str) -> Answer:
    """Take an answer; the guard's refusals are JSON with a code, Cloud Run's are pages for people."""
    try:
        return Answer(status, str(json.loads(text)["code"]))
    except (ValueError, KeyError, TypeError):
        return Answer(status)
