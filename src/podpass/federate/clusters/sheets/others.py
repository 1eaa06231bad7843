# SPDX-License-Identifier: Apache-2.0
"""The move of the issuer on k0s, minikube, MicroK8s and kops. Pure."""

import shlex

import yaml

from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, ServiceAccountFlags
from podpass.federate.clusters.forms.lists import KONNECTIVITY
from podpass.federate.clusters.move import Move, Stage
from podpass.federate.clusters.rolling import WHO_SIGNS, gaps, servers, steps
from podpass.federate.clusters.sheet import File, Sheet, Step

_MICROK8S = "/var/snap/microk8s/current/args/kube-apiserver"


def k0s_config(flags: ServiceAccountFlags) -> str:
    """Return what k0s.yaml has to hold; its own tunnel needs its audience."""
    audiences = dict.fromkeys((*flags.api_audiences, KONNECTIVITY))
    arguments = {ISSUER: flags.issuers[0], API_AUDIENCES: ",".join(audiences)}
    content = {"apiVersion": "k0s.k0sproject.io/v1beta1", "kind": "ClusterConfig", "spec": {"api": {"extraArgs": arguments}}}
    return yaml.safe_dump(content, sort_keys=False, width=1000)


def k0s(move: Move, evidence: Evidence) -> Sheet:
    """Write the step that is left for k0s, whose extraArgs are a map."""

    def change(stage: Stage) -> Step:
        lines = [line for node in servers(evidence) for line in _k0s_on(node, move.issuer)]
        file = File("k0s.yaml", k0s_config(stage.flags))
        return Step("Switch, one controller after the other", stage.purpose, tuple(lines), (file,), stage.gate)

    notes = ("Controllers of k0s are no nodes unless they were made to be: name yours in the commands.",)
    return Sheet(f"k0s: move the issuer to {move.issuer}", (*gaps(move, several=False), *notes), steps(move, several=False, change=change))


def _k0s_on(node: Node, issuer: str) -> tuple[str, ...]:
    name = shlex.quote(node.name)
    copy = f"grep -qF -- {shlex.quote(issuer)} /etc/k0s/k0s.yaml || cp /etc/k0s/k0s.yaml /etc/k0s/k0s.yaml.before-podpass"
    return (
        f"ssh root@{name} {shlex.quote(copy)}",
        f"ssh -t root@{name} vi /etc/k0s/k0s.yaml  # put spec.api.extraArgs of k0s.yaml in; other keys stay",
        f"ssh root@{name} k0s config validate --config /etc/k0s/k0s.yaml",
        f"ssh root@{name} systemctl restart k0scontroller",
        "kubectl get --raw /readyz",
        WHO_SIGNS,
    )


def minikube(move: Move, _: Evidence) -> Sheet:
    """Write the step that is left for minikube, which keeps one value for an option."""

    def change(stage: Stage) -> Step:
        values = {ISSUER: stage.flags.issuers[0], API_AUDIENCES: ",".join(stage.flags.api_audiences)}
        options = " ".join(f"--extra-config=apiserver.{name}={shlex.quote(value)}" for name, value in values.items())
        return Step("Switch", stage.purpose, ("minikube stop", f"minikube start {options}", WHO_SIGNS), gate=stage.gate)

    notes = ("Give minikube the options of its profile with every start; they are not kept by all drivers.",)
    return Sheet(
        f"minikube: move the issuer to {move.issuer}", (*gaps(move, several=False), *notes), steps(move, several=False, change=change)
    )


def microk8s_script(flags: ServiceAccountFlags, issuer: str) -> str:
    """Return the script that takes the old lines out of MicroK8s' file of arguments and puts the new ones in.

    The file is copied before it first names the new issuer; run again, or for a later stage, the copy stays what was there before the move.

    Args:
        flags: Those of the stage.
        issuer: The one to come.
    """
    lines = [f"--{ISSUER}={one}" for one in flags.issuers] + [f"--{API_AUDIENCES}={','.join(flags.api_audiences)}"]
    return "\n".join(
        [
            "#!/bin/sh",
            "set -eu",
            f'file="${{1:-{_MICROK8S}}}"',
            f'grep -qF -- {shlex.quote(issuer)} "$file" || cp "$file" "$file.before-podpass"',
            f"sed -i -E '/^--({ISSUER}|{API_AUDIENCES})[= ]/d' \"$file\"",
            "cat >> \"$file\" <<'END'",
            *lines,
            "END",
            "",
        ]
    )


def microk8s(move: Move, evidence: Evidence) -> Sheet:
    """Write the steps that are left for MicroK8s."""

    def change(stage: Stage) -> Step:
        lines = [
            line
            for node in servers(evidence)
            for line in (
                f"ssh root@{shlex.quote(node.name)} sh < {stage.name}.sh",
                f"ssh root@{shlex.quote(node.name)} snap restart microk8s.daemon-kubelite",
                f"ssh root@{shlex.quote(node.name)} microk8s status --wait-ready",
                WHO_SIGNS,
            )
        ]
        file = File(f"{stage.name}.sh", microk8s_script(stage.flags, move.issuer))
        return Step(f"{stage.name.capitalize()}, one node after the other", stage.purpose, tuple(lines), (file,), stage.gate)

    return Sheet(f"MicroK8s: move the issuer to {move.issuer}", gaps(move, several=True), steps(move, several=True, change=change))


def kops_spec(flags: ServiceAccountFlags) -> str:
    """Return what the cluster's spec has to hold."""
    first, *others = flags.issuers
    server = {"serviceAccountIssuer": first, "additionalServiceAccountIssuers": others, "apiAudiences": list(flags.api_audiences)}
    content = {"spec": {"kubeAPIServer": {name: value for name, value in server.items() if value}}}
    return yaml.safe_dump(content, sort_keys=False, width=1000)


def kops(move: Move, _: Evidence) -> Sheet:
    """Write the steps that are left for kops."""

    def change(stage: Stage) -> Step:
        commands = (
            f'kops edit cluster "$NAME"  # put spec.kubeAPIServer of {stage.name}.yaml in; other keys stay',
            'kops update cluster "$NAME"',
            'kops update cluster "$NAME" --yes',
            'kops rolling-update cluster "$NAME" --instance-group-roles=control-plane --yes',
            WHO_SIGNS,
        )
        file = File(f"{stage.name}.yaml", kops_spec(stage.flags))
        return Step(f"{stage.name.capitalize()}, machine by machine", stage.purpose, commands, (file,), stage.gate)

    notes = (
        "kops publishes an issuer's documents itself where spec.serviceAccountIssuerDiscovery names a store; then leave the issuer to it.",
    )
    return Sheet(f"kops: move the issuer to {move.issuer}", (*gaps(move, several=True), *notes), steps(move, several=True, change=change))
