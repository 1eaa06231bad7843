# SPDX-License-Identifier: Apache-2.0
"""What podpass writes for each distribution is judged by the real programs: kubeadm reads and renders it, kube-apiserver starts with it."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
import yaml

from cross.rendered_plane import RenderedPlane
from podpass.errors import ConfigError
from podpass.exchange.exchanger import Exchanger
from podpass.federate.clusters.evidence import Publication
from podpass.federate.clusters.flags import ServiceAccountFlags, parse_arguments
from podpass.federate.clusters.gathering import gather
from podpass.federate.clusters.lint_cluster import findings_of_cluster
from podpass.federate.clusters.move import Move, plan_move
from podpass.federate.clusters.portrait import draw
from podpass.federate.clusters.rendering import render
from podpass.federate.clusters.sheet import Sheet, Step
from podpass.federate.clusters.sheets.kubeadm import FOLDER
from podpass.google import iam, operator
from podpass.google.connections import new_http
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient, connect
from podpass.kube.kubeconfig import from_dict
from podpass.names import Issuer, PoolName, Secret
from podpass.sandbox.binaries import Binaries, cache_directory
from podpass.sandbox.cluster_client import ClusterClient
from podpass.sandbox.hosting import HostedSandbox
from unit.federate.clusters.recorded import CLUSTERS, SINGLE
from unit.federate.clusters.rendered import NEW, RENDERERS, SERVICE, Settings, changes

pytestmark = pytest.mark.cluster
TOKENS = "/api/v1/namespaces/default/serviceaccounts/default/token"
POOL = PoolName("415104041262", "moving-pool")
KUBEADM = sorted(name for name in CLUSTERS if name.startswith(("kubeadm", "kind")))
# One that takes several issuers and one that takes a single one; the rest, three restarts each, is for the long suite.
SAMPLE = {"kubeadm-v1beta4", "talos-1.9.6"}


@pytest.fixture(scope="module", autouse=True)
def programs() -> Path:
    try:
        Binaries.find(cache_directory())
    except ConfigError as error:
        pytest.skip(str(error))
    return cache_directory()


def planned(name: str) -> tuple[Move, Sheet]:
    evidence = CLUSTERS[name]
    portrait = draw(evidence)
    assert portrait.distribution.value
    move = plan_move(evidence, portrait, Issuer(NEW))
    return move, render(move, evidence, portrait.distribution.value.name)


def kubeadm(programs: Path, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [str(programs / "kubeadm"), *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def laid(step: Step, folder: Path) -> Path:
    """Lay the files of a step on a machine, in a folder that stands for the one on a node; return what one node's kubeadm reads."""
    for file in step.files:
        target = folder / file.path.partition("/")[2]
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.content.replace(FOLDER, str(folder)))
    return folder / "cp-1" / "kubeadm.yaml"


@pytest.mark.parametrize("name", KUBEADM)
def test_kubeadm_takes_what_is_written_and_migrates_it(name: str, programs: Path, tmp_path: Path) -> None:
    _, sheet = planned(name)
    for stage, step in changes(sheet).items():
        file = laid(step, tmp_path / stage)
        kubeadm(programs, "config", "validate", "--config", str(file))
        migrated = list(yaml.safe_load_all(kubeadm(programs, "config", "migrate", "--old-config", str(file))))
        (cluster,) = [one for one in migrated if one["kind"] == "ClusterConfiguration"]
        values = {one["name"]: one["value"] for one in cluster["apiServer"]["extraArgs"]}
        assert values["service-account-issuer"] == (SERVICE if stage == "accept" else NEW)
        assert cluster["apiServer"]["certSANs"] == ["demo.example"]


def from_kubeadm(programs: Path, step: Step, folder: Path) -> Settings:
    """Have kubeadm write the static pod; return the flags in it that are about issuers and audiences."""
    file, out = laid(step, folder), folder / "dry-run"
    out.mkdir()
    kubeadm(programs, "init", "phase", "control-plane", "apiserver", "--config", str(file), "--dry-run", KUBEADM_INIT_DRYRUN_DIR=str(out))
    command = yaml.safe_load((out / "kube-apiserver.yaml").read_text())["spec"]["containers"][0]["command"]
    assert "kind" in str(folder) or "--profiling=false" in command  # the user's own
    return [(name, value) for name, value in parse_arguments(command) if name in {"service-account-issuer", "api-audiences"}]


@pytest.mark.parametrize("name", KUBEADM)
def test_kubeadm_renders_the_issuers_in_the_order_that_was_meant(name: str, programs: Path, tmp_path: Path) -> None:
    move, sheet = planned(name)
    wanted = {stage.name: stage.flags for stage in move.left(several=True)}
    for stage, step in changes(sheet).items():
        flags = ServiceAccountFlags.of(from_kubeadm(programs, step, tmp_path / f"{name}-{stage}"))
        assert (flags.issuers, flags.api_audiences) == (wanted[stage].issuers, wanted[stage].api_audiences)  # type: ignore[index]  # by name


@pytest.fixture(scope="module")
def google(logged_in: HostedSandbox) -> Iterator[GoogleClient]:
    """Google's side, where every change holds at once."""
    assert logged_in.environment()  # this process is logged in to it
    http = new_http()
    with GoogleClient(operator.find(http), http=http) as client:
        iam.create_pool(client, POOL, {})
        yield client


def trusted(google: GoogleClient, name: str, issuer: str, jwks: str) -> Exchanger:
    """Have Google trust an issuer with these keys."""
    provider = POOL.provider(name)
    body = {"attributeMapping": {"google.subject": "assertion.sub"}, "oidc": {"issuerUri": issuer, "jwksJson": jwks}}
    iam.create_provider(google, provider, body)
    return Exchanger(provider)


async def issued(client: ClusterClient, audience: str | None = None) -> str:
    spec = {"audiences": [audience] if audience else [], "expirationSeconds": 600}
    return str((await client.post(TOKENS, {"spec": spec}))["status"]["token"])


async def is_taken(client: ClusterClient, token: str) -> bool:
    answer = await client.post("/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    return answer["status"].get("authenticated") is True


def iss(token: str) -> str:
    return str(jwt.decode(token, options={"verify_signature": False})["iss"])


def rendered(name: str, programs: Path, folder: Path) -> dict[str, Settings]:
    _, sheet = planned(name)
    if name == "minikube":
        (step,) = [one for one in sheet.steps if one.title == "Switch"]
        return {"switch": RENDERERS[name](step, folder)}
    if name in RENDERERS:
        return {stage: RENDERERS[name](step, folder) for stage, step in changes(sheet).items()}
    return {stage: from_kubeadm(programs, step, folder / f"{name}-{stage}") for stage, step in changes(sheet).items()}


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name in SAMPLE else pytest.mark.slow) for name in CLUSTERS])
def test_a_real_api_server_goes_the_whole_way_and_google_takes_its_tokens(
    name: str, programs: Path, google: GoogleClient, tmp_path: Path
) -> None:
    flags = rendered(name, programs, tmp_path)
    old = draw(CLUSTERS[name]).issuer.value
    assert old
    audience = POOL.provider(_identifier(name)).audience

    async def way() -> None:
        plane = RenderedPlane(tmp_path / "plane", [("service-account-issuer", old)])
        await plane.start()
        try:
            async with ClusterClient(plane.admin_kubeconfig(), agent="test") as client:
                before = await issued(client)
                if "accept" in flags:
                    await plane.tell(flags["accept"])
                    assert iss(await issued(client)) == old
                    assert await is_taken(client, before)
                await plane.tell(flags["switch"])
                after = await issued(client)
                assert iss(after) == NEW
                assert [await is_taken(client, token) for token in (before, after)] == [name not in SINGLE, True]
                document = await client.get("/.well-known/openid-configuration")
                assert document["issuer"] == NEW
                keys = json.dumps(await client.get("/openid/v1/jwks"))
                subject = await issued(client, audience)
                with trusted(google, _identifier(name), NEW, keys) as exchanger:
                    assert exchanger.federated_token(Secret(subject, "subject token")).value
                assert not await is_taken(client, subject)  # what is for Google opens no API server
                if "drop" in flags:
                    await plane.tell(flags["drop"])
                    assert [await is_taken(client, token) for token in (before, await issued(client))] == [False, True]
        finally:
            await plane.stop()

    asyncio.run(way())


def _identifier(name: str) -> str:
    return f"of-{name.replace('.', '-')}"


def test_lint_and_init_see_on_a_real_cluster_what_the_first_article_did_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    google = POOL.provider("demo").audience
    told = [("service-account-issuer", NEW), ("api-audiences", f"{SERVICE},{google}"), ("service-account-jwks-uri", f"{NEW}/keys.json")]

    async def faults() -> list[str]:
        plane = RenderedPlane(tmp_path / "plane", told)
        await plane.start()
        try:
            return await asyncio.to_thread(_faults_of, connect(from_dict(plane.admin_kubeconfig())))
        finally:
            await plane.stop()

    monkeypatch.setattr(
        "podpass.federate.clusters.gathering.look_up", lambda _: Publication(False, "storage.googleapis.com answered 404.")
    )  # nobody leaves the machine
    assert asyncio.run(faults()) == ["lint.google-audience", "lint.not-published"]


def _faults_of(cluster: KubeClient) -> list[str]:
    with cluster:
        evidence = gather(cluster)
    portrait = draw(evidence)
    assert portrait.issuer.value == NEW
    assert set(portrait.audiences.value or ()) == {SERVICE, POOL.provider("demo").audience}
    return [one.code for one in findings_of_cluster(evidence, portrait)]
