# SPDX-License-Identifier: Apache-2.0
"""From a step to the calls that make it true."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podpass.errors import PodpassError, UnsafePlanError
from podpass.federate.execution.steps import Step, Verb
from podpass.federate.kinds import policies
from podpass.federate.kinds.pools import Pools
from podpass.federate.kinds.registry import handlers
from podpass.federate.model.change import Action
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import JSON, Kind, Resource
from podpass.google import services
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.policy import Policy
from podpass.google.policy_edit import is_settling
from podpass.google.rest import GoogleClient
from podpass.kube.client import KubeClient


@dataclass(frozen=True, slots=True)
class Acts:
    """Makes steps true; an `Act` of `run`.

    Attributes:
        google: Google.
        cluster: The cluster; None when it is gone.
        mark: How new things are signed.
        desired: The plan's resources by address.
        policies: IAM policies as they were read for the plan, by target.
        former: By address: what an unfinished move left in a policy.
        other_providers: The ids of the pool's other providers that were seen when the plan was made.
    """

    google: GoogleClient
    cluster: KubeClient | None
    mark: Mark
    desired: Mapping[str, Resource] = field(default_factory=dict)
    policies: Mapping[str, Policy] = field(default_factory=dict)
    former: Mapping[str, tuple[Mapping[str, JSON], ...]] = field(default_factory=dict)
    other_providers: frozenset[str] = frozenset()

    def __call__(self, step: Step) -> Mapping[str, str]:
        """Make one step true."""
        if step.verb is Verb.WRITE_POLICY:
            target = str(step.changes[0].identity["target"])
            policies.write(self.google, target, self.policies.get(target), step.changes, self.former)
            return {}
        if step.verb in {Verb.OPEN, Verb.CLOSE}:
            self._turn(step.key.partition(" ")[0], opens=step.verb is Verb.OPEN)
            return {}
        (change,) = step.changes
        if change.kind is Kind.API:
            services.enable_service(self.google, str(change.identity["project"]), str(change.identity["service"]))
            return {}
        handler = handlers(self.google, self.cluster, self.mark)[change.kind]
        if change.action is Action.DELETE:
            handler.take_away(change)
            return {}
        uid = handler.make(change, self.desired[change.address])
        return {change.address: uid} if uid else {}

    def _turn(self, address: str, *, opens: bool) -> None:
        """Open a pool or close it. One that came back from deletion with a provider that nobody has seen before stays closed."""
        pools, identity = Pools(self.google, self.mark), self.desired[address].identity
        if opens:
            ours = {str(one.identity["provider"]) for one in self.desired.values() if one.kind is Kind.PROVIDER}
            strangers = sorted(pools.providers(identity) - ours - self.other_providers)
            if strangers:
                raise UnsafePlanError(
                    f"{address} holds a provider that was not seen when the plan was made: {', '.join(strangers)}.",
                    "It came back with the pool, or somebody else has made it meanwhile. The pool stays closed: nobody can enter it.",
                    "Make the plan again: it says whether the pool can be shared with it.",
                    code="plan.appeared",
                )
        pools.set_disabled(identity, disabled=not opens)


def is_teething(error: PodpassError) -> bool:
    """Whether an error is what Google answers for a while about something new: an account, a pool, an API."""
    return is_settling(error) or (isinstance(error, GoogleRefusedError) and error.kind is FaultKind.API_DISABLED)
