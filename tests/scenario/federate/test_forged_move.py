# SPDX-License-Identifier: Apache-2.0
"""Whoever may write config maps in podpass-system can write any state of a move there: it makes nobody's issuer trusted."""

from datetime import timedelta

from podpass.federate.records.issuer_move import IssuerMove, Standing
from podpass.federate.rotation.issuer.ledger import MoveLedger
from scenario.federate.conftest import Story

STRANGER = "https://stranger.example"


def test_an_issuer_of_which_the_state_of_a_move_alone_speaks_is_given_no_provider(story: Story) -> None:
    story.done("apply", "--yes")
    assert story.sandbox.cluster
    former = Standing("cluster", story.sandbox.cluster.issuers[0], "inline")
    forged = IssuerMove.begin(story.name, former, Standing("cluster-2", STRANGER, "discovery"), timedelta(hours=1))
    MoveLedger(story.kube, story.name).write(forged)
    for words in (("plan",), ("apply", "--yes"), ("rotate", "--issuer", "--resume", "--yes")):

        def refused(*command: str) -> None:
            error = story.run(*command).error
            assert error is not None
            assert error.full_code == "plan.rotation-unwitnessed"
            assert STRANGER in error.what

        assert story.written(lambda: refused(*words)) == []  # noqa: B023 - called at once
