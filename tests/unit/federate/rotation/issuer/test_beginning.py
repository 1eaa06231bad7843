# SPDX-License-Identifier: Apache-2.0
"""What a move to another issuer begins with, and every reason not to begin it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from podpass.config.federation import BucketSettings, Federation, IssuerSettings, ProviderSettings
from podpass.errors import ConfigError, PlanError, PodpassError
from podpass.federate.desired import condition, desired
from podpass.federate.model.change import Action
from podpass.federate.model.change import Change as Made
from podpass.federate.model.facts import Facts
from podpass.federate.model.plan import Plan, Subject
from podpass.federate.model.resource import ABSENT, Observed
from podpass.federate.planning.prepared import Prepared, Sides
from podpass.federate.records.issuer_move import IssuerMove, MovePhase, Standing
from podpass.federate.records.receipt import Entry, Receipt, State
from podpass.federate.rotation.issuer.beginning import begin, check_servers
from podpass.federate.rotation.issuer.sides import of_a_move
from podpass.federate.rotation.servers import ControlPlane, Server
from podpass.names import Issuer, Secret

DAY = timedelta(hours=24)
NEW = "https://storage.googleapis.com/shop-oidc"
COMING = Standing("cluster-2", NEW, "bucket", BucketSettings("shop-oidc"))
POOL = {"project": "demo-project", "pool": "workload-identity-demo"}
Change = Callable[[Federation], Federation]


@pytest.fixture
def moving(with_google: Callable[..., Federation]) -> Federation:
    issuer = IssuerSettings(Issuer(NEW), "bucket", COMING.bucket)
    return replace(with_google(provider=ProviderSettings("cluster-2")), issuer=issuer)


def prepared(federation: Federation, facts: Facts, former: Mapping[str, Any] | None = None, *, coming: Observed = ABSENT) -> Prepared:
    """A plan of the file, where a provider stands that the receipt knows."""
    body = {
        "oidc.issuerUri": facts.issuer,
        "oidc.jwksJson": facts.jwks,
        "attributeMapping": dict(federation.google.attribute_mapping),
        "attributeCondition": condition.of(federation),
        **(former or {}),
    }
    entries = {"provider/wif-demo-oidc": Entry(State.MADE, {**POOL, "provider": "wif-demo-oidc"}), "bucket/old-oidc": Entry(State.MADE, {})}
    wanted = desired.resources(federation, facts)
    seen = {"provider/wif-demo-oidc": Observed("present", body), "provider/cluster-2": coming}
    plan = Plan(Subject("demo", "cluster-a", "demo-project", "1", NEW, "//x"), wanted, ())
    receipt = Receipt("demo", "cluster-a", "demo-project").with_entries(entries)
    return Prepared(plan, cast("Sides", None), receipt, seen, {}, facts, federation)


def begun(*arguments: Any, **more: Any) -> IssuerMove:  # noqa: ANN401 - those of `prepared`
    return begin(prepared(*arguments, **more), DAY, is_abrupt=False)


def test_a_move_begins_with_the_provider_that_takes_the_clusters_tokens(moving: Federation, facts: Facts) -> None:
    move = begun(moving, facts)
    assert (move.phase, move.pool, move.coming) == (MovePhase.PUBLISH, "workload-identity-demo", COMING)
    assert move.former == Standing("wif-demo-oidc", facts.issuer, "inline")


@pytest.mark.parametrize(
    ("issuer", "expected"),
    [
        ("https://storage.googleapis.com/old-oidc", ("bucket", BucketSettings("old-oidc"))),
        ("https://storage.googleapis.com/else-oidc", ("discovery", None)),
    ],
)
def test_where_the_former_keys_are_is_seen_at_google_and_in_the_receipt(
    moving: Federation, facts: Facts, issuer: str, expected: tuple[str, BucketSettings | None]
) -> None:
    former = begun(moving, replace(facts, issuer=issuer), {"oidc.jwksJson": ""}).former
    assert (former.keys, former.bucket) == expected


@pytest.mark.parametrize(
    ("seen", "fault"),
    [(Observed("deleted"), "was deleted less than 30 days ago"), (Observed("present"), "exists already")],
)
def test_an_id_that_is_taken_is_not_used(moving: Federation, facts: Facts, seen: Observed, fault: str) -> None:
    with pytest.raises(ConfigError, match=fault) as caught:
        begun(moving, facts, coming=seen)
    assert caught.value.full_code == "config.provider-id"
    assert "cluster-3" in caught.value.next_step


def with_mapping(mapping: Mapping[str, str]) -> Change:
    return lambda federation: replace(federation, google=replace(federation.google, attribute_mapping=mapping))


def with_condition(text: str) -> Change:
    return lambda federation: replace(federation, google=replace(federation.google, attribute_condition=text))


REFUSED: dict[str, tuple[Change, dict[str, Any], type[PodpassError], str]] = {
    "the issuer is kept": (lambda one: replace(one, issuer=IssuerSettings()), {}, ConfigError, "nothing to move to"),
    "the issuer is there": (
        lambda one: replace(one, issuer=IssuerSettings(Issuer("https://10.0.0.1:6443"))),
        {},
        ConfigError,
        "signs with https://10.0.0.1:6443 already",
    ),
    "nothing is applied": (lambda one: one, {"oidc.issuerUri": "https://else.example"}, PlanError, "no provider of this federation"),
    "another mapping": (lambda one: one, {"attributeMapping": {"google.subject": "'x'"}}, PlanError, "another attributeMapping than"),
    "another condition": (lambda one: one, {"attributeCondition": "true"}, PlanError, "another attributeCondition than"),
    "a mapping by issuer": (
        with_mapping({"google.subject": "assertion.iss + assertion.sub"}),
        {},
        PlanError,
        "mapping depends on the issuer",
    ),
    "a condition by issuer": (with_condition("assertion['iss'] != ''"), {}, PlanError, "condition depends on the issuer"),
    "a provider of others": (
        lambda one: replace(one, google=replace(one.google, provider=replace(one.google.provider, existing=True))),
        {},
        ConfigError,
        "somebody else's to keep",
    ),
}


@pytest.mark.parametrize(("change", "former", "kind", "fault"), REFUSED.values(), ids=REFUSED)
def test_what_would_refuse_tokens_or_change_principals_is_not_begun(
    moving: Federation, facts: Facts, change: Change, former: dict[str, Any], kind: type[PodpassError], fault: str
) -> None:
    with pytest.raises(kind, match=fault):
        begun(change(moving), facts, former)


def test_the_same_provider_for_two_issuers_is_explained(moving: Federation, facts: Facts) -> None:
    same = replace(moving, google=replace(moving.google, provider=ProviderSettings("wif-demo-oidc")))
    with pytest.raises(ConfigError, match="two providers have to stand side by side") as caught:
        begun(same, facts)
    assert "another id, such as wif-demo-oidc-2" in caught.value.next_step


def test_api_servers_that_differ_are_brought_in_line_first(moving: Federation, facts: Facts) -> None:
    move = begun(moving, facts)

    def server(name: str, issuer: str, kids: frozenset[str] = frozenset({"kid"})) -> Server:
        return Server(name, kids, "kid", Secret("x", "t"), datetime(2026, 11, 22, tzinfo=UTC), issuer)

    alike = (server("s0", facts.issuer), server("s1", facts.issuer))
    check_servers(move, ControlPlane(alike, is_complete=True))
    for plane in (
        ControlPlane((*alike, server("s2", NEW)), is_complete=True),
        ControlPlane((*alike, server("s2", facts.issuer, frozenset({"other"}))), is_complete=True),
        ControlPlane(alike, is_complete=True, silent=("s2: gone",)),
    ):
        with pytest.raises(PlanError, match=r"not every API server answers|do not agree"):
            check_servers(move, plane)


def test_of_a_plan_a_move_makes_its_own_part_and_takes_away_the_leaving_provider_alone(moving: Federation, facts: Facts) -> None:
    move = begun(moving, facts).published()
    addresses = [
        "provider/cluster-2",
        "bucket/shop-oidc",
        "object/shop-oidc/keys.json",
        "configmap/default/sts-config",
        "pool/p",
        "grant/x",
    ]
    public = Made("grant/allUsers:legacyObjectReader@bucket/shop-oidc", Action.CREATE, {"member": "allUsers"})
    made = [*(Made(address, Action.CREATE, {}) for address in addresses), public]
    gone = [Made(one, Action.DELETE, {}) for one in ("bucket/old-oidc", "binding/default/a", "provider/wif-demo-oidc", "provider/else")]
    ending = replace(move, phase=MovePhase.FORGET)
    seen = [[change.address for change in of_a_move((*made, *gone), one)] for one in (move, ending)]
    assert seen[0] == [*addresses[:4], public.address, "provider/wif-demo-oidc"]
    assert seen[1] == ["provider/cluster-2", "configmap/default/sts-config", "provider/wif-demo-oidc"]
