# SPDX-License-Identifier: Apache-2.0
"""What the rules look at, for tests of what podpass refuses and warns about."""

from dataclasses import replace
from datetime import timedelta

from podpass.config.federation import Federation
from podpass.federate.desired.principals import OtherProvider
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.federate.records.issuer_move import IssuerMove, Standing
from podpass.federate.records.receipt import Entry, Receipt, State
from podpass.federate.records.under_way import UnderWay
from podpass.federate.safety.situation import Situation

NOBODY = Receipt("demo", "cluster-a", "demo-project")


def situation(federation: Federation, facts: Facts, **more: object) -> Situation:
    return replace(Situation(federation, facts, NOBODY), **more)  # type: ignore[arg-type]  # the caller knows the fields


FORMER = OtherProvider("cluster-1", "https://10.0.0.1:6443", {"google.subject": "assertion.sub"})

KNOWN = NOBODY.with_entries({"provider/cluster-1": Entry(State.ADOPTED, {"project": "demo-project", "pool": "p", "provider": "cluster-1"})})

OF_THE_CLUSTER = Mark("demo", "cluster-a")


def move_to(issuer: str, facts: Facts) -> UnderWay:
    """Return a move of the cluster to another issuer that has begun."""
    former, coming = Standing("cluster-1", facts.issuer, "inline"), Standing("wif-demo-oidc", issuer, "inline")
    return UnderWay("--issuer", IssuerMove.begin("workload-identity-demo", former, coming, timedelta(hours=24)))
