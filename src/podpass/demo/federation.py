# SPDX-License-Identifier: Apache-2.0
"""The first article, walked: a cluster is federated with Google, and a Job lists the project's buckets with its Kubernetes identity.

As the article does, the issuer moves to a public bucket and the cluster's P-256 key gives way to an RSA key; other than the article, in the
order that leaves nobody without a valid token: announce the key, publish, switch. The binding is left out at first, to see Google refuse.
"""

import json
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import Any

import yaml

from podpass.config.federation import Federation
from podpass.config.reading import load
from podpass.demo import cluster
from podpass.demo.stage import Stage, operator, staged
from podpass.demo.story import Story, expect
from podpass.federate.execution import destroy as taking
from podpass.federate.execution.apply import apply
from podpass.federate.model.resource import Kind
from podpass.federate.planning.prepared import Prepared, prepare
from podpass.federate.records.receipt import NAMESPACE
from podpass.federate.safety.allowances import Allowances
from podpass.google.rest import GoogleClient
from podpass.google.storage import create_bucket, delete_bucket
from podpass.kube.client import KubeClient
from podpass.sandbox.cluster import IssuerChange
from podpass.sandbox.settings import SandboxSettings

_FILES = Path(__file__).parent / "first_article"
_BUCKETS = ("holiday-photos", "quarterly-reports")
_PROPAGATION = timedelta(seconds=1)


def tell(*, control_plane: Path | None = None) -> Story:
    """Walk the story in a sandbox of its own.

    Args:
        control_plane: The directory of a real control plane; None: the built-in API server.

    Raises:
        StoryError: It did not go as it should have.
    """
    story = Story("federation")
    settings = SandboxSettings(key_type="p256", propagation=_PROPAGATION, control_plane=control_plane)
    with staged(settings) as stage, operator() as google:
        _Walk(story, stage, google, load(_FILES / "podpass.yaml")).walk()
    return story


@dataclass(slots=True)
class _Walk:
    """The steps of the story, in order."""

    story: Story
    stage: Stage
    google: GoogleClient
    federation: Federation

    @property
    def kube(self) -> KubeClient:
        return self.stage.kube

    def walk(self) -> None:
        project = self.federation.google.project
        for bucket in _BUCKETS:
            create_bucket(self.google, project, bucket, {})
        before = self.stage.sandbox.dump()
        self._prepare_cluster()
        self._trust()
        self._switch()
        self._refused()
        self._bind()
        self._accepted()
        self._clean_up()
        self.stage.compare(self.story, before)
        for bucket in _BUCKETS:
            delete_bucket(self.google, bucket)

    def _prepare_cluster(self) -> None:
        with self.story.step("A service account for the workload", "kubectl create sa workload-identity-demo"):
            cluster.create_service_account(self.kube, "workload-identity-demo")
        with self.story.step("The cluster announces an RSA key beside its P-256 key; nothing is signed with it yet") as step:
            self.stage.restart(IssuerChange(announce_key="rsa2048"))
            step.say("The control plane was restarted; it serves both keys.")

    def _trust(self) -> None:
        with self.story.step("Google learns to trust it: everything but the binding", "podpass apply") as step:
            prepared = prepare(self.federation, self.google, self.kube)
            kept = tuple(change for change in prepared.plan.changes if change.kind is not Kind.BINDING)
            applied = apply(_only(prepared, kept), Allowances())
            step.say(*(f"+ {change.address}" for change in applied.changes))

    def _switch(self) -> None:
        issuer = str(self.federation.issuer.url)
        with self.story.step("The cluster moves to the published issuer and signs with the announced key") as step:
            self.stage.restart(IssuerChange(issuer=issuer, sign_with_announced=True))
            step.say(f"Tokens now carry iss {issuer}; the old issuer and key are still accepted.")

    def _refused(self) -> None:
        with self.story.step("The Job, without the binding", "kubectl apply -f job.yaml; kubectl logs -l app=wif-demo") as step:
            completed, log = self._job()
            step.say(*log)
            expect(holds=not completed and any("iam.serviceAccounts.getAccessToken" in line for line in log), what="Google did not refuse")
            self.story.results["refusal"] = log
            self.story.conclude("Without the binding, Google answered the Job:", *map(in_short, log))

    def _bind(self) -> None:
        with self.story.step("The plan holds what is left; it is made", "podpass apply") as step:
            prepared = prepare(self.federation, self.google, self.kube)
            applied = apply(prepared, Allowances())
            step.say(*(f"+ {change.address}" for change in applied.changes))
            expect(holds=[change.kind for change in applied.changes] == [Kind.BINDING], what="more than the binding was left")
            expect(holds=not prepare(self.federation, self.google, self.kube).plan.changes, what="a second plan is not empty")
        with self.story.step("A changed policy takes a moment to come into effect"):
            sleep(_PROPAGATION.total_seconds())

    def _accepted(self) -> None:
        with self.story.step("The Job again", "kubectl apply -f job.yaml; kubectl logs -l app=wif-demo") as step:
            completed, log = self._job()
            step.say(*log)
            expect(holds=completed and set(log) == {*_BUCKETS, "demo-oidc"}, what="the Job did not list the buckets")
            self.story.results["buckets"] = log
            self.story.conclude("With it, the Job's log was the project's buckets:", *log)

    def _clean_up(self) -> None:
        with self.story.step("What apply made is taken away", "podpass destroy") as step:
            self.stage.restart(IssuerChange(issuer=self.stage.cluster.issuers[-1], accepted_issuers=()))
            made = taking.destroy(taking.prepare(self.federation, self.google, self.kube)).changes
            step.say(*(f"- {change.address}" for change in made))
            cluster.delete_service_account(self.kube, "workload-identity-demo")
            cluster.delete_namespace(self.kube, NAMESPACE)

    def _job(self) -> tuple[bool, list[str]]:
        return cluster.run_job(self.kube, yaml.safe_load((_FILES / "job.yaml").read_text()))


def in_short(line: str) -> str:
    """Return what Google says in an error that a log holds as JSON: its status and its sentence; any other line as it is."""
    try:
        error = json.loads(line[line.index("{") :])["error"]
        return f"{error['code']} {error['status']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return line


def _only(prepared: Prepared, changes: tuple[Any, ...]) -> Prepared:
    return replace(prepared, plan=replace(prepared.plan, changes=changes))
