# SPDX-License-Identifier: Apache-2.0
"""What each distribution makes of the files that podpass writes for it, written from its own description: files in, flags out.

Talos: `extraArgs` overwrite a default of the same name. k3s and RKE2: `x=v` drops the default, `x+=v` goes behind it, `x-=v` before it.
k0s and kops: a field for a flag. MicroK8s: the script is run, and the file is the flags. kubeadm is not among them: the real one is asked.
"""

import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import yaml

from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, parse_arguments
from podpass.federate.clusters.sheet import Sheet, Step

Settings = list[tuple[str, str]]
ENDPOINT = "https://10.0.0.1:6443"
SERVICE = "https://kubernetes.default.svc.cluster.local"
NEW = "https://storage.googleapis.com/demo-oidc"


def changes(sheet: Sheet) -> dict[str, Step]:
    """Return the steps that change servers, by the stage's name."""
    return {step.title.partition(",")[0].partition(":")[0].lower(): step for step in sheet.steps if step.files}


def file_of(step: Step, end: str) -> str:
    (content,) = [file.content for file in step.files if file.path.endswith(end)]
    return content


def talos(step: Step, _: Path, *, end: str = ".yaml") -> Settings:
    """Render as Talos does."""
    document = yaml.safe_load(next(file.content for file in step.files if file.path.endswith(end)))
    extra = document["extraArgs"] if document.get("kind") else document["cluster"]["apiServer"]["extraArgs"]
    arguments: dict[str, object] = {API_AUDIENCES: ENDPOINT, ISSUER: ENDPOINT, **extra}
    return [(name, str(one)) for name, value in arguments.items() for one in (value if isinstance(value, list) else [value])]


def talos_document(step: Step, folder: Path) -> Settings:
    """Render as Talos 1.14 does with documents."""
    return talos(step, folder, end="-document.yaml")


def rke2(step: Step, folder: Path) -> Settings:
    """Render as RKE2 does."""
    return rancher(step, folder, "rke2")


def rancher(step: Step, _: Path, program: str = "k3s") -> Settings:
    """Render as k3s does."""
    values: dict[str, list[str]] = {}
    defaults = {ISSUER: SERVICE, API_AUDIENCES: f"{SERVICE},{program}"}
    for argument in yaml.safe_load(step.files[0].content)["kube-apiserver-arg+"]:
        name, _, value = argument.partition("=")
        flag = name.rstrip("+-")
        initial = [defaults.pop(flag)] if flag in defaults and name != flag else []
        defaults.pop(flag, None)
        so_far = values.get(flag, [])
        values[flag] = [value, *initial, *so_far] if name.endswith("-") else [*initial, *so_far, value]
    return [*defaults.items(), *((name, one) for name, several in values.items() for one in several)]


def k0s(step: Step, _: Path) -> Settings:
    """Render as k0s does: its defaults, overridden."""
    defaults = {ISSUER: "https://kubernetes.default.svc", API_AUDIENCES: "https://kubernetes.default.svc,system:konnectivity-server"}
    return list((defaults | yaml.safe_load(step.files[0].content)["spec"]["api"]["extraArgs"]).items())


def kops(step: Step, _: Path) -> Settings:
    """Render as kops does: a field for a flag, a list for one that is repeated."""
    server = yaml.safe_load(step.files[0].content)["spec"]["kubeAPIServer"]
    issuers = [server["serviceAccountIssuer"], *server.get("additionalServiceAccountIssuers", [])]
    return [*((ISSUER, one) for one in issuers), (API_AUDIENCES, ",".join(server["apiAudiences"]))]


def microk8s(step: Step, folder: Path) -> Settings:
    """Run the script over a file of arguments as a node has it."""
    arguments, script = folder / "kube-apiserver", folder / "change.sh"
    before = f"--service-account-issuer={SERVICE}\n--api-audiences={SERVICE}\n--profiling=false\n"
    arguments.write_text(before)
    script.write_text(step.files[0].content)
    for _ in range(2):  # it may be repeated
        subprocess.run(["sh", str(script), str(arguments)], check=True)
    assert "--profiling=false" in arguments.read_text()
    assert (folder / "kube-apiserver.before-podpass").read_text() == before  # what takes the first stage back
    return [(name, value) for name, value in parse_arguments(arguments.read_text().split()) if name != "profiling"]


def minikube(step: Step, _: Path) -> Settings:
    """Render as minikube does: each option is a flag."""
    words = next(line for line in step.commands if "--extra-config" in line).split()
    values = [word.partition("=apiserver.")[2] if "=apiserver." in word else word.partition("apiserver.")[2] for word in words]
    return [(name, value) for one in values if one for name, _, value in [one.partition("=")]]


RENDERERS: Mapping[str, Callable[[Step, Path], Settings]] = {
    "talos-1.9.6": talos,
    "talos-1.13.9": talos,
    "talos-1.14.0": talos,
    "talos-1.14.0-documents": talos_document,
    "k3s": rancher,
    "rke2": rke2,
    "k0s": k0s,
    "minikube": minikube,
    "microk8s": microk8s,
    "kops": kops,
}
