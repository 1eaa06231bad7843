# SPDX-License-Identifier: Apache-2.0
"""What a person does in a move to another issuer: to the control plane, to pods, to documents that others serve. Pure."""

from collections.abc import Iterable
from typing import Final

from podpass.config.federation import Workload
from podpass.federate.records.issuer_move import IssuerMove, MovePhase
from podpass.federate.rotation.instruction import ONE_BY_ONE, Instruction
from podpass.federate.rotation.issuer.pods import first_renewal

WRITTEN: Final = frozenset({"talos", "kubeadm", "kind", "cluster-api", "k3s", "rke2", "k0s", "minikube", "microk8s", "kops"})
"""Distributions whose steps `podpass export --format control-plane` writes."""
DRIVEN: Final = frozenset({"talos", "kubeadm", "kind", "k3s", "rke2"})
"""Distributions to whose machines `podpass roll` brings the steps."""
_SHOWN: Final = 5


def control_plane(move: IssuerMove, distribution: str | None) -> Instruction:
    """Return what a person does to the API servers in the step at hand: `ACCEPT`, `SWITCH` or `DROP`.

    Args:
        move: The move.
        distribution: As `clusters` names it; None, or one whose steps podpass cannot write: the flags themselves.
    """
    stays, leaves = move.stays.issuer, move.leaves.issuer
    fate = "are refused by the cluster from now on" if move.is_abrupt else "stay good"
    purpose, issuers, audiences = {
        MovePhase.ACCEPT: (
            "Let every API server take tokens of both issuers. The present one goes on signing.",
            (leaves, stays),
            f"those of now, and {stays}",
        ),
        MovePhase.SWITCH: (
            f"Let every API server sign with {stays}. Tokens of {leaves} {fate}.",
            (stays,) if move.is_abrupt else (stays, leaves),
            f"those of now, and {stays}",
        ),
        MovePhase.DROP: (f"Let no API server take tokens of {leaves} any more.", (stays,), f"those of now without {leaves}"),
    }[move.phase]
    flags = (
        *(
            f"kube-apiserver: --service-account-issuer={issuer}{'    # the first one signs' if not at else ''}"
            for at, issuer in enumerate(issuers)
        ),
        f"kube-apiserver: --api-audiences=<{audiences}>    # where it is set",
    )
    return Instruction(f"{purpose} {ONE_BY_ONE}", (*_commands(move, distribution), *flags))


def _commands(move: IssuerMove, distribution: str | None) -> tuple[str, ...]:
    stage = move.phase.value
    if distribution in DRIVEN:
        return (f"podpass roll {'back' if move.is_back else stage}    # does this; what it comes to:",)
    if distribution not in WRITTEN:
        return ()
    if move.is_back:
        before = {MovePhase.SWITCH: "those of Accept", MovePhase.DROP: "those that were there before"}
        return (f"# the files of this step are {before.get(move.phase, 'those of the step before')}; what they say:",)
    return (
        "podpass export --format control-plane -o control-plane",
        f"# the step {stage.capitalize()} of control-plane/STEPS.md; what it comes to:",
    )


def documents(move: IssuerMove) -> Instruction:
    """Return what is done about documents that podpass does not serve itself."""
    return Instruction(
        f"Serve the documents of {move.coming.issuer} where everybody can read them.",
        ("podpass export --format documents -o issuer", f"# then serve the folder issuer/ below {move.coming.issuer}"),
    )


def before_switch(workloads: Iterable[Workload]) -> Instruction:
    """Return what spares programs that read the credential configuration once."""
    spans = {first_renewal(one) for one in workloads}
    left = f"{min(spans).total_seconds() / 60:.0f} minutes" if spans else "0.8 of the tokens' life"
    return Instruction(
        "Restart now the pods whose programs read the credential configuration once. Kubelet does not renew their tokens for "
        f"{left} then; if the switch is through by that time and they are restarted again, none of theirs is refused. Start none between "
        "the first server's switch and the step after it.",
        (),
    )


def after_switch(move: IssuerMove, pods: Iterable[str] | None) -> Instruction:
    """Return what is to be restarted: programs that have read a configuration of the leaving provider."""
    purpose = (
        f"New pods find {move.stays.provider} in their credential configuration. Restart those whose programs have read the former one: "
        "when kubelet has renewed their tokens, Google refuses what they ask for. Either audience is good for either provider; let "
        f"manifests name {move.stays.provider} before the last step, or list {move.leaves.provider} in google.provider.formerIds."
    )
    if pods is None:
        return Instruction(purpose, ("# podpass may not list pods; all that were started before this moment",))
    names = sorted(pods)
    more = (f"# and {len(names) - _SHOWN} more",) if len(names) > _SHOWN else ()
    return Instruction(purpose, (*(f"# {name}" for name in names[:_SHOWN]), *more))
