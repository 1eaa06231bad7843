# SPDX-License-Identifier: Apache-2.0
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from podpass.config.federation import AccountSelector, Federation, IssuerSettings, Selection, TokenSettings, Workload
from podpass.federate.model.facts import Facts
from podpass.federate.records.receipt import Entry, State
from podpass.federate.records.under_way import UnderWay
from podpass.federate.safety import cautions
from podpass.names import Issuer, ServiceAccountRef
from podpass.names.labels import LabelSelector
from unit.federate.safety.situations import FORMER, KNOWN, NOBODY, OF_THE_CLUSTER, move_to, situation


def codes(federation: Federation, facts: Facts, **more: object) -> list[str]:
    return [caution.code for caution in cautions.of(situation(federation, facts, **more))]


def test_a_sound_federation_is_not_warned_about(federation: Federation, facts: Facts) -> None:
    assert codes(federation, facts) == []


def test_a_namespace_needs_no_account_and_is_not_warned_about(with_google: Callable[..., Federation], facts: Facts) -> None:
    mapping = {"google.subject": "assertion.sub", "attribute.namespace": "assertion['kubernetes.io']['namespace']"}
    whole = Workload(ServiceAccountRef("a" * 63, "default"), member="attribute.namespace", is_namespace=True)
    assert codes(replace(with_google(attribute_mapping=mapping), workloads=(whole,)), facts) == []


def test_no_condition_is_allowed_and_warned_about(with_google: Callable[..., Federation], facts: Facts) -> None:
    assert codes(with_google(attribute_condition=None), facts) == ["no-condition"]


def test_a_subject_that_many_accounts_share_is_warned_about(with_google: Callable[..., Federation], facts: Facts) -> None:
    by_namespace = with_google(attribute_mapping={"google.subject": "assertion['kubernetes.io'].namespace"})
    (caution,) = cautions.of(situation(by_namespace, facts))
    assert caution.code == "broad-member"
    assert "google.subject is the same for every account of namespace default" in caution.message
    (caution,) = cautions.of(situation(with_google(attribute_mapping={"google.subject": "'everybody'"}), facts))
    assert "the same for every account that enters" in caution.message


def test_an_issuer_that_the_tokens_do_not_carry_yet_is_said(federation: Federation, facts: Facts) -> None:
    moved = replace(federation, issuer=IssuerSettings(Issuer("https://new.example"), "inline"))
    (caution,) = cautions.of(situation(moved, facts))
    assert caution.code == "issuer-differs"
    assert "carry the issuer 'https://10.0.0.1:6443' now; Google is told 'https://new.example'" in caution.message


def test_inline_keys_of_a_managed_cluster_are_warned_about(federation: Federation, facts: Facts) -> None:
    there = replace(facts, issuer="https://oidc.eks.eu-west-1.amazonaws.com/id/ABC")
    assert codes(replace(federation, issuer=IssuerSettings(keys="inline")), there) == ["managed-keys-inline"]
    assert codes(federation, there) == []


def test_a_key_that_google_cannot_use_is_named(federation: Federation, facts: Facts) -> None:
    odd = facts.jwks.replace('{"keys":[', '{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA","kid":"odd-one"},')
    (caution,) = cautions.of(situation(federation, replace(facts, jwks=odd)))
    assert caution.code == "key-skipped"
    assert "odd-one" in caution.message


def test_a_missing_account_is_said_with_the_command_that_makes_it(federation: Federation, facts: Facts) -> None:
    (caution,) = cautions.of(situation(federation, replace(facts, account_uids={})))
    assert caution.code == "account-missing"
    assert caution.message.endswith("Run `kubectl -n default create serviceaccount workload-identity-demo`.")


def test_a_token_that_lives_long_is_warned_about(federation: Federation, facts: Facts, workload: Workload) -> None:
    long = replace(workload, token=TokenSettings(timedelta(hours=12)))
    assert codes(replace(federation, workloads=(long,)), facts) == ["long-token"]


def test_a_selector_s_long_tokens_and_broad_members_are_spoken_of_once(with_google: Callable[..., Federation], facts: Facts) -> None:
    pattern = Workload(ServiceAccountRef("default", "default"), token=TokenSettings(timedelta(hours=12)))
    selection = Selection(AccountSelector(LabelSelector()), pattern, "spec.workloads[0]")
    found = [selection.workload(ServiceAccountRef("shop", name)) for name in ("a", "b")]
    broad = with_google(attribute_mapping={"google.subject": "assertion['kubernetes.io']['namespace']"})
    federation = replace(broad, workloads=tuple(found), selections=(selection,))
    known = replace(facts, account_uids={one.service_account: "uid" for one in found})
    assert codes(federation, known) == ["broad-member", "long-token"]


def test_another_provider_in_the_file_than_before_is_told_with_what_it_does_to_pods(federation: Federation, facts: Facts) -> None:
    former = replace(FORMER, mark=OF_THE_CLUSTER)
    seen = situation(federation, facts, others=(former,), receipt=KNOWN)
    (caution,) = cautions.of(seen)
    assert (caution.code, "Keep the former id" in caution.message) == ("provider-replaced", True)
    moving = replace(seen, federation=replace(federation, issuer=IssuerSettings(Issuer("https://new.example"))))
    assert ["rotate --issuer" in one.message for one in cautions.of(moving) if one.code == "provider-replaced"] == [True]


def test_an_issuer_that_changes_on_the_same_provider_is_told_with_the_way_that_refuses_nobody(federation: Federation, facts: Facts) -> None:
    moving = replace(federation, issuer=IssuerSettings(Issuer("https://new.example")))
    (first,) = cautions.of(situation(moving, facts))
    assert "podpass export --format control-plane" in first.message
    own = NOBODY.with_entries({"provider/wif-demo-oidc": Entry(State.MADE, {})})
    (later,) = cautions.of(situation(moving, facts, receipt=own))
    assert "give google.provider.id another id and run `podpass rotate --issuer`" in later.message


def test_during_a_move_only_the_move_is_told(federation: Federation, facts: Facts) -> None:
    begun = move_to("https://new.example", facts)
    moving = replace(federation, issuer=IssuerSettings(Issuer("https://new.example")))
    (caution,) = cautions.of(situation(moving, facts, others=(FORMER,), under_way=begun))
    assert caution.code == "rotation-under-way"
    assert "its next step is `publish`" in caution.message
    (key,) = cautions.of(situation(federation, facts, under_way=UnderWay("--key")))
    assert "rotate --key --resume" in key.message
