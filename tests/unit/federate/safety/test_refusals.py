# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from dataclasses import replace

import pytest

from podpass.config.federation import Federation, IssuerSettings, Workload
from podpass.errors import ConfigError, PodpassError, RefusedError, UnsafePlanError
from podpass.federate.desired.principals import OtherProvider
from podpass.federate.model.change import LOST_MARK, OWN_MARK, Action, Change
from podpass.federate.model.facts import Facts
from podpass.federate.model.marks import Mark
from podpass.federate.model.objection import Objection, stop
from podpass.federate.model.plan import Plan, Subject
from podpass.federate.records.receipt import Entry, Receipt, State
from podpass.federate.safety import refusals
from podpass.federate.safety.allowances import Allowances, check_allowed, is_allowed, needless
from podpass.federate.safety.situation import Situation
from podpass.names import Issuer, ServiceAccountRef
from podpass.verify import KeySet
from unit.federate.safety.situations import FORMER, KNOWN, OF_THE_CLUSTER, move_to, situation

AUDIENCE = (
    "//iam.googleapis.com/projects/415104041262/locations/global/workloadIdentityPools/workload-identity-demo/providers/wif-demo-oidc"
)

THEIRS = "it carries the mark of federation f of cluster c"


def plan(*changes: Change) -> Plan:
    return Plan(Subject("demo", "cluster-a", "demo-project", "1", "https://a.example", "//x"), (), changes)


def refuse(seen: Situation) -> None:
    stop([*refusals.objections(seen)])


def refusal(federation: Federation, facts: Facts, **more: object) -> PodpassError:
    with pytest.raises(PodpassError) as caught:
        refuse(situation(federation, facts, **more))
    return caught.value


def test_a_sound_federation_is_not_refused(federation: Federation, facts: Facts) -> None:
    refuse(situation(federation, facts))


def test_a_generated_condition_over_4096_characters_is_refused(federation: Federation, facts: Facts, workload: Workload) -> None:
    many = tuple(replace(workload, service_account=ServiceAccountRef("default", f"account-number-{index:03}")) for index in range(190))
    error = refusal(replace(federation, workloads=many), facts)
    assert isinstance(error, ConfigError)
    assert error.full_code == "config.condition-too-long"
    assert "would have 4294 characters; Google accepts 4096" in error.what
    assert error.why == "It is generated and names each of the 190 workloads."
    assert "assertion['kubernetes.io']['namespace'] in ['default']" in error.next_step


def test_a_condition_that_grows_too_long_by_what_selectors_find_stops_the_plan_and_not_the_keys(
    with_google: Callable[..., Federation], facts: Facts
) -> None:
    found = tuple(refusals.objections(situation(with_google(attribute_condition="x" * 4097), replace(facts, cluster="cluster-b"))))
    of_everything, of_plan = refusals.split(found)
    assert [one.code for one in of_plan] == ["config.condition-too-long"]
    assert [one.code for one in of_everything] == ["plan.other-cluster"]


def test_a_written_condition_over_4096_characters_is_refused(with_google: Callable[..., Federation], facts: Facts) -> None:
    text = "assertion.sub == '" + "x" * 4096 + "'"
    error = refusal(with_google(attribute_condition=text), facts)
    assert (error.full_code, error.why) == ("config.condition-too-long", "")


def test_what_google_would_refuse_is_refused_in_googles_words(with_google: Callable[..., Federation], facts: Facts) -> None:
    error = refusal(with_google(attribute_condition="assertion.sub =="), facts)
    assert isinstance(error, ConfigError)
    assert error.full_code == "config.provider"
    assert error.what == "Nothing was changed: Google would refuse provider/wif-demo-oidc."
    assert error.why.startswith("The attribute condition is invalid:")
    assert error.next_step == "Correct it at podpass.yaml:1:1."


def test_a_subject_over_127_bytes_is_refused_with_its_length(federation: Federation, facts: Facts, workload: Workload) -> None:
    long = replace(workload, service_account=ServiceAccountRef("team-payments", "a" * 100))
    error = refusal(replace(federation, workloads=(long,)), facts)
    assert error.full_code == "config.subject-too-long"
    assert f"google.subject would be 136 bytes for team-payments/{'a' * 100}; Google accepts 127." in error.what
    assert error.why == "The mapping is assertion.sub."


def test_a_subject_of_exactly_127_bytes_is_accepted(federation: Federation, facts: Facts, workload: Workload) -> None:
    fits = replace(workload, service_account=ServiceAccountRef("team-payments", "a" * 91))
    refuse(situation(replace(federation, workloads=(fits,)), facts))


def test_a_pool_that_serves_another_cluster_is_refused(federation: Federation, facts: Facts) -> None:
    other = OtherProvider("their-oidc", "https://other.example", {"google.subject": "assertion.sub"})
    error = refusal(federation, facts, others=(other,))
    assert isinstance(error, UnsafePlanError)
    assert error.full_code == "plan.shared-pool"
    assert "is shared with provider their-oidc (https://other.example)" in error.what
    assert error.why == "Both give accounts of one name the same google.subject, so one cluster could speak for the other."


def test_the_same_issuer_does_not_tell_two_clusters_apart(with_google: Callable[..., Federation], facts: Facts) -> None:
    mapping = {"google.subject": "assertion.iss + '::' + assertion.sub"}
    same = OtherProvider("their-oidc", facts.issuer, mapping)
    assert refusal(with_google(attribute_mapping=mapping), facts, others=(same,)).full_code == "plan.shared-pool"
    other = replace(same, issuer="https://other.example")
    refuse(situation(with_google(attribute_mapping=mapping), facts, others=(other,)))


def test_a_shared_pool_is_fine_when_the_mapping_names_the_cluster(with_google: Callable[..., Federation], facts: Facts) -> None:
    other = OtherProvider("their-oidc", "https://other.example", {"google.subject": "'b::' + assertion.sub"})
    refuse(situation(with_google(attribute_mapping={"google.subject": "'a::' + assertion.sub"}), facts, others=(other,)))
    foreign = OtherProvider("pipelines", "", {"google.subject": "assertion.arn"})
    refuse(situation(with_google(), facts, others=(foreign,)))


def test_a_shared_attribute_that_is_bound_is_refused_too(federation: Federation, facts: Facts, workload: Workload) -> None:
    google = replace(federation.google, attribute_mapping={"google.subject": "'a::' + assertion.sub", "attribute.sub": "assertion.sub"})
    bound = replace(federation, google=google, workloads=(replace(workload, member="attribute.sub"),))
    theirs = {"google.subject": "'b::' + assertion.sub", "attribute.sub": "assertion.sub"}
    error = refusal(bound, facts, others=(OtherProvider("b", "https://b.example", theirs),))
    assert "the same attribute.sub," in error.why


def test_a_pool_without_workloads_is_still_not_shared(federation: Federation, facts: Facts) -> None:
    other = OtherProvider("their-oidc", "", {"google.subject": "assertion.sub"})
    error = refusal(replace(federation, workloads=()), facts, others=(other,))
    assert "their-oidc (no OIDC issuer)" in error.what


@pytest.mark.parametrize("audience", [AUDIENCE, f"https:{AUDIENCE}", AUDIENCE.removeprefix("//iam.googleapis.com/")])
def test_googles_audience_among_the_api_servers_is_refused(federation: Federation, facts: Facts, audience: str) -> None:
    error = refusal(federation, replace(facts, api_audiences=frozenset({audience, "https://kubernetes.default.svc"})))
    assert error.full_code == "plan.audience-confusion"
    assert repr(audience) in error.what
    assert "--api-audiences" in error.next_step


def test_unknown_api_audiences_refuse_nothing(federation: Federation, facts: Facts) -> None:
    refuse(situation(federation, replace(facts, api_audiences=None)))


def test_a_receipt_of_another_project_is_refused(federation: Federation, facts: Facts) -> None:
    book = Receipt("demo", "cluster-a", "old-project").with_entries({"pool/a": Entry(State.MADE, {})})
    error = refusal(federation, facts, receipt=book)
    assert error.full_code == "plan.other-project"
    assert "was made in project old-project, not in demo-project" in error.what
    refuse(situation(federation, facts, receipt=book.with_entries({})))


def test_a_receipt_of_another_federation_is_refused(federation: Federation, facts: Facts) -> None:
    error = refusal(federation, facts, receipt=Receipt("billing", "cluster-b", "demo-project"))
    assert error.full_code == "plan.other-federation"
    assert "The receipt podpass-system/federation-demo is that of the federation 'billing', not of demo." in error.what


def test_obstacles_are_told_before_the_first_change(federation: Federation, facts: Facts) -> None:
    lacking = Objection("neighbour.refused", "You lack iam.workloadIdentityPools.create.", "", "Ask for the role.")
    error = refusal(federation, facts, obstacles=(lacking,))
    assert isinstance(error, RefusedError)
    assert str(error).startswith("Nothing was changed: You lack iam.workloadIdentityPools.create.")


def test_every_reason_is_told_at_once(federation: Federation, facts: Facts) -> None:
    lacking = Objection("neighbour.refused", "You lack a permission.", "", "Ask for it.")
    error = refusal(federation, replace(facts, api_audiences=frozenset({AUDIENCE})), obstacles=(lacking, lacking))
    assert error.what == "Nothing was changed, for 3 reasons:"
    assert error.why.count("\n  - ") == 2
    assert error.full_code == UnsafePlanError.code


def test_reasons_of_one_cure_tell_it_once() -> None:
    one, other = (Objection("neighbour.refused", f"You lack {name}.", "", "Ask for it.") for name in ("this", "that"))
    with pytest.raises(RefusedError) as caught:
        stop([one, other])
    assert (caught.value.why, caught.value.next_step) == ("  - You lack this.\n  - You lack that.", "Ask for it.")
    with pytest.raises(RefusedError) as caught:
        stop([one, replace(other, next_step="Wait.")])
    assert (caught.value.why, caught.value.next_step) == ("  - You lack this.\n    Ask for it.\n  - You lack that.\n    Wait.", "")


def test_reasons_of_one_code_keep_it(federation: Federation, facts: Facts) -> None:
    lacking = Objection("neighbour.refused", "You lack a permission.", "", "Ask for it.")
    assert refusal(federation, facts, obstacles=(lacking, lacking)).full_code == "neighbour.refused"


def test_what_was_allowed_in_vain_is_told_but_for_patterns() -> None:
    deleting = plan(Change("pool/a", Action.DELETE, {}))
    assert needless(deleting, Allowances(delete=("pool/a", "grant/*"), adopt=("*",))) == ()
    misled = Allowances(delete=("pool/A",), undelete=("pool/a",), adopt=("pool/a", "pool/*"))
    assert needless(deleting, misled) == ("--allow-delete pool/A", "--allow-undelete pool/a", "--adopt pool/a")


@pytest.mark.parametrize(
    ("change", "allowances", "allowed"),
    [
        (Change("pool/a", Action.CREATE, {}), Allowances(), True),
        (Change("pool/a", Action.UPDATE, {}), Allowances(), True),
        (Change("pool/a", Action.DELETE, {}), Allowances(), False),
        (Change("pool/a", Action.DELETE, {}), Allowances(delete=("pool/b",)), False),
        (Change("pool/a", Action.DELETE, {}), Allowances(undelete=("pool/a",), adopt=("*",)), False),
        (Change("pool/a", Action.DELETE, {}), Allowances(delete=("pool/a",)), True),
        (Change("grant/a:b@c", Action.DELETE, {}), Allowances(delete=("grant/*",)), True),
        (Change("pool/a", Action.UNDELETE, {}), Allowances(), False),
        (Change("pool/a", Action.UNDELETE, {}), Allowances(delete=("pool/a",), adopt=("*",)), False),
        (Change("pool/a", Action.UNDELETE, {}), Allowances(undelete=("pool/a",)), True),
        (Change("pool/a", Action.UNDELETE, {}, known=True), Allowances(), True),
        (Change("pool/a", Action.ADOPT, {}), Allowances(delete=("*",), undelete=("*",)), False),
        (Change("pool/a", Action.ADOPT, {}), Allowances(adopt=("*",)), True),
        (Change("pool/a", Action.ADOPT, {}), Allowances(adopt=("pool/b",)), False),
        (Change("pool/a", Action.ADOPT, {}, owner=OWN_MARK), Allowances(adopt=("*",)), True),
        (Change("pool/a", Action.ADOPT, {}, owner=THEIRS), Allowances(adopt=("*", "pool/*")), False),
        (Change("pool/a", Action.ADOPT, {}, owner=THEIRS), Allowances(adopt=("pool/a",)), True),
    ],
)
def test_deleting_undeleting_and_adopting_want_a_word_of_the_operator(change: Change, allowances: Allowances, allowed: bool) -> None:  # noqa: FBT001 - a table
    assert is_allowed(change, allowances) is allowed
    if allowed:
        check_allowed(plan(change), allowances)
    else:
        with pytest.raises(UnsafePlanError, match="pool/a"):
            check_allowed(plan(change), allowances)


def test_the_refusals_say_which_word_is_wanted() -> None:
    changes = (
        Change("pool/a", Action.DELETE, {}),
        Change("pool/b", Action.UNDELETE, {}),
        Change("pool/c", Action.ADOPT, {}, owner="it carries the mark of federation f of cluster c"),
        Change("pool/d", Action.ADOPT, {}),
        Change("pool/e", Action.ADOPT, {}, owner="it carries the mark of federation f of this cluster"),
        Change("pool/f", Action.ADOPT, {}, owner=LOST_MARK),
    )
    with pytest.raises(UnsafePlanError) as caught:
        check_allowed(plan(*changes), Allowances())
    text = str(caught.value)
    assert caught.value.full_code == "plan.unsafe"
    assert "--allow-delete pool/a" in text
    assert "--allow-undelete pool/b" in text
    assert "podpass did not make it; it carries the mark of federation f of cluster c.\n    Choose another name. Adopted, it would" in text
    assert "podpass did not make it.\n" in text
    assert "pool/f exists already. The receipt says that podpass made it, but it does not bear the mark.\n" in text
    assert "pool/e exists already, for another federation of this cluster." in text


def test_a_receipt_of_another_cluster_is_refused(federation: Federation, facts: Facts) -> None:
    error = refusal(federation, replace(facts, cluster="cluster-b"))
    assert error.full_code == "plan.other-cluster"
    assert "was written in another one ('cluster-a'; this is cluster-b)" in error.what
    assert "podpass-system/federation-demo" in error.next_step


NAMESPACED = {"google.subject": "assertion.sub", "attribute.namespace": "assertion['kubernetes.io']['namespace']"}


def whole(namespace: str) -> Workload:
    return Workload(ServiceAccountRef(namespace, "default"), member="attribute.namespace", is_namespace=True)


@pytest.mark.parametrize(
    ("theirs", "refused"),
    [
        ({"google.subject": "'x' + assertion.sub", "attribute.namespace": "assertion.repository_owner"}, True),
        ({"google.subject": "'x' + assertion.sub", "attribute.namespace": "'shop'"}, True),
        ({"google.subject": "'x' + assertion.sub", "attribute.namespace": NAMESPACED["attribute.namespace"]}, True),
        ({"google.subject": "'x' + assertion.sub", "attribute.namespace": "'two:' + " + NAMESPACED["attribute.namespace"]}, False),
        ({"google.subject": "'x' + assertion.sub", "attribute.team": "assertion.repository_owner"}, False),
    ],
)
def test_a_namespace_is_not_bound_where_another_provider_may_name_it(
    with_google: Callable[..., Federation],
    facts: Facts,
    theirs: dict[str, str],
    refused: bool,  # noqa: FBT001 - a row
) -> None:
    federation = replace(with_google(attribute_mapping=NAMESPACED), workloads=(whole("shop"),))
    found = [*refusals.objections(situation(federation, facts, others=(OtherProvider("other", "https://other.example", theirs),)))]
    assert {one.code for one in found} == ({"plan.shared-pool"} if refused else set())


def test_a_namespace_needs_no_account_and_is_no_subject(with_google: Callable[..., Federation], facts: Facts) -> None:
    federation = replace(with_google(attribute_mapping=NAMESPACED), workloads=(whole("a" * 63),))
    assert list(refusals.objections(situation(federation, facts))) == []


def test_what_has_lapsed_is_deleted_without_a_word_and_nothing_else_is() -> None:
    gone = Change("grant/a/b:viewer@project/p", Action.DELETE, {})
    check_allowed(plan(replace(gone, lapsed=True)), Allowances())
    with pytest.raises(UnsafePlanError):
        check_allowed(plan(gone), Allowances())


def test_a_receipt_alone_does_not_make_another_provider_of_the_pool_our_own(federation: Federation, facts: Facts) -> None:
    kids = frozenset(KeySet.parse(facts.jwks).keys)
    for claimed in (FORMER, replace(FORMER, mark=Mark("demo", "cluster-b")), replace(FORMER, kids=frozenset({"another"}))):
        assert refusal(federation, facts, others=(claimed,), receipt=KNOWN).full_code == "plan.shared-pool"
    for unknown in (replace(FORMER, mark=OF_THE_CLUSTER), replace(FORMER, kids=kids)):
        assert refusal(federation, facts, others=(unknown,)).full_code == "plan.shared-pool"
        refuse(situation(federation, facts, others=(unknown,), receipt=KNOWN))


def test_during_a_move_both_providers_are_our_own(federation: Federation, facts: Facts) -> None:
    moving = replace(federation, issuer=IssuerSettings(Issuer("https://new.example")))
    refuse(situation(moving, facts, others=(FORMER,), under_way=move_to("https://new.example", facts)))
