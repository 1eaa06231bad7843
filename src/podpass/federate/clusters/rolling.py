# SPDX-License-Identifier: Apache-2.0
"""What the steps of every distribution have in common: the servers, the gates, the waits, and what is said beforehand. Pure."""

import shlex
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Final

from podpass.federate.clusters.evidence import Evidence, Node
from podpass.federate.clusters.flags import ISSUER, ServiceAccountFlags
from podpass.federate.clusters.move import RENEWAL, Move, Stage
from podpass.federate.clusters.sheet import Step

WHO_SIGNS: Final = "kubectl create token default | podpass token inspect -"
"""What shows which issuer signs."""


def steps(move: Move, *, several: bool, change: Callable[[Stage], Step]) -> tuple[Step, ...]:
    """Return what is left to do, with the waits between."""
    return tuple(step for stage in move.left(several=several) for step in (*waiting(move, stage), change(stage)))


def servers(evidence: Evidence) -> tuple[Node, ...]:
    """Return the nodes of the control plane; a node to be filled in where they cannot be seen."""
    return tuple(one for one in evidence.nodes if one.is_control_plane) or (Node("CONTROL-PLANE-NODE"),)


def gate_commands(node: Node, flags: ServiceAccountFlags) -> tuple[str, ...]:
    """Return what waits until one server has come back: its static pod carries the new issuers in their order, and it is ready."""
    pod = shlex.quote(f"kube-apiserver-{node.name}")
    wanted = shlex.quote("".join(f"--{ISSUER}={one} " for one in flags.issuers))
    seen = f"kubectl -n kube-system get pod {pod} -o yaml | grep -oE -- '--{ISSUER}=[^ ]+' | tr '\\n' ' '"
    return (
        f"until {seen} | grep -qxF -- {wanted}; do sleep 2; done",
        f"kubectl -n kube-system wait --for=condition=Ready pod/{pod} --timeout=5m",
    )


def waiting(move: Move, stage: Stage) -> Iterator[Step]:
    """Yield what comes before a stage: the documents before the switch, the end of the last old token before the drop."""
    if stage.name == "switch":
        yield Step(
            "Publish",
            f"Whoever verifies tokens of {move.issuer} has to find its keys before the first one is signed. Google's provider names one "
            "issuer: from here to the end of the switch it refuses tokens of the old one. Where pods rely on it, `podpass rotate --issuer` "
            "does this step, and all of Google's side, so that none is refused.",
            ("podpass apply", "podpass plan --exit-code"),
            gate="podpass plan has nothing to do",
        )
    if stage.name == "drop":
        yield Step("Wait", last_token(move), (WHO_SIGNS,), gate="no token of the old issuer is in use any more")


def gaps(move: Move, *, several: bool) -> tuple[str, ...]:
    """Return what will be felt of a move, as it is told beforehand."""
    single = (
        "This cluster takes one issuer. A server that has switched refuses every token of the old issuer: pods lose it until "
        f"kubelet has renewed their tokens, {_span(RENEWAL)} at the latest for Kubernetes' own (computed: 80 % of 3607 s, the next sync, "
        "the client's next read). While the servers differ, a token works on some of them only. Plan a maintenance window, and restart "
        "the pods, system pods first. Keeping the issuer and giving Google the keys inline needs none of this."
    )
    lost = (f"The audience {one} is Google's and leaves the API server's, which tokens for Google open until then." for one in move.lost)
    always = "Other flags stay as they are. Each step may be repeated; the one before it takes it back, up to the drop."
    return (*(() if several else (single,)), *lost, always)


def last_token(move: Move) -> str:
    """Say how long the old issuer has to stay: a time that is computed, and named as such."""
    if move.longest is None:
        return (
            "Nothing limits how long a token may live, so no time can be computed. Find out who asked for long ones, or set "
            "--service-account-max-token-expiration."
        )
    span = _span(move.longest)
    return (
        f"A token lives {span} at most. So the old issuer stays accepted until {span} after the last server has switched: a time that is "
        "computed, not measured. Restart every pod after the switch, and its tokens are new at once; what is left then are tokens that "
        "somebody asked for outside of pods."
    )


def _span(life: timedelta) -> str:
    days, seconds = divmod(round(life.total_seconds()), 86400)
    if days and not seconds:
        return f"{days} days"
    return f"{life.total_seconds() / 3600:g} h" if life.total_seconds() % 3600 == 0 else f"{round(life.total_seconds() / 60)} minutes"
