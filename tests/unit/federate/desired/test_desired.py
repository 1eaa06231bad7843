# SPDX-License-Identifier: Apache-2.0
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from podpass.config.federation import BucketSettings, Federation, Grant, GrantCondition, IssuerSettings, Workload
from podpass.errors import ConfigError
from podpass.federate.desired import condition, desired
from podpass.federate.desired.principals import Claims
from podpass.federate.model.facts import Facts
from podpass.federate.model.resource import Resource
from podpass.federate.records.issuer_move import IssuerMove, Standing
from podpass.names import GoogleServiceAccount, Issuer, ServiceAccountRef
from podpass.wif.limits import CONDITION_LIMIT_CHARS
from podpass.wif.mapping import compile_condition

POOL = "projects/415104041262/locations/global/workloadIdentityPools/workload-identity-demo"
IN_A_BUCKET = IssuerSettings(Issuer("https://storage.googleapis.com/demo-oidc"), "bucket", BucketSettings("demo-oidc", "us-east1"))


def built(federation: Federation, facts: Facts) -> dict[str, Resource]:
    return desired.by_address(desired.resources(federation, facts))


def test_the_addresses_are_what_people_type(federation: Federation, facts: Facts) -> None:
    assert list(built(federation, facts)) == [
        "api/cloudresourcemanager.googleapis.com",
        "api/iam.googleapis.com",
        "api/iamcredentials.googleapis.com",
        "api/sts.googleapis.com",
        "pool/workload-identity-demo",
        "provider/wif-demo-oidc",
        "account/wif-demo-sa",
        "binding/default/workload-identity-demo",
        "grant/wif-demo-sa:storage.admin@project/demo-project",
        "configmap/default/sts-config",
    ]


def test_everything_that_is_needed_is_there_and_comes_first(federation: Federation, facts: Facts) -> None:
    seen: set[str] = set()
    for resource in desired.resources(replace(federation, issuer=IN_A_BUCKET), facts):
        assert set(resource.needs) <= seen
        seen.add(resource.address)


def test_inline_keys_are_on_the_provider_and_the_issuer_is_the_clusters(federation: Federation, facts: Facts) -> None:
    body = built(federation, facts)["provider/wif-demo-oidc"].body
    assert body["oidc.issuerUri"] == facts.issuer
    assert json.loads(body["oidc.jwksJson"]) == json.loads(facts.jwks)
    assert body["oidc.allowedAudiences"] == []


def test_keys_in_a_bucket_are_published_before_the_provider_names_them(federation: Federation, facts: Facts) -> None:
    resources = built(replace(federation, issuer=IN_A_BUCKET), facts)
    provider = resources["provider/wif-demo-oidc"]
    assert provider.body["oidc.jwksJson"] == ""
    assert set(provider.needs) == {
        "pool/workload-identity-demo",
        "object/demo-oidc/keys.json",
        "object/demo-oidc/.well-known/openid-configuration",
        "grant/allUsers:storage.legacyObjectReader@bucket/demo-oidc",
    }
    assert resources["bucket/demo-oidc"].at_birth["location"] == "US-EAST1"
    document = json.loads(resources["object/demo-oidc/.well-known/openid-configuration"].body["content"])
    assert document["issuer"] == "https://storage.googleapis.com/demo-oidc"
    assert document["jwks_uri"] == "https://storage.googleapis.com/demo-oidc/keys.json"
    assert document["id_token_signing_alg_values_supported"] == ["ES256", "RS256"]


def test_a_managed_clusters_keys_are_found_by_discovery_unless_the_file_says_otherwise(federation: Federation, facts: Facts) -> None:
    managed = Issuer("https://oidc.eks.eu-west-1.amazonaws.com/id/ABC")
    assert desired.keys_mode(federation, managed) == "discovery"
    assert desired.keys_mode(replace(federation, issuer=IssuerSettings(keys="inline")), managed) == "inline"
    assert desired.keys_mode(federation, Issuer(facts.issuer)) == "inline"
    there = replace(facts, issuer=managed.url)
    assert built(federation, there)["provider/wif-demo-oidc"].body["oidc.jwksJson"] == ""


def test_the_workload_is_bound_as_one_subject(federation: Federation, facts: Facts) -> None:
    identity = built(federation, facts)["binding/default/workload-identity-demo"].identity
    subject = "system:serviceaccount:default:workload-identity-demo"
    assert identity == {
        "target": "account/wif-demo-sa@demo-project.iam.gserviceaccount.com",
        "role": "roles/iam.workloadIdentityUser",
        "member": f"principal://iam.googleapis.com/{POOL}/subject/{subject}",
    }


def test_the_workload_is_bound_by_an_attribute_where_the_file_says_so(federation: Federation, facts: Facts, workload: Workload) -> None:
    mapping = {"google.subject": "'demo::' + assertion.sub", "attribute.sub": "assertion.sub"}
    changed = replace(
        federation,
        google=replace(federation.google, attribute_mapping=mapping),
        workloads=(replace(workload, member="attribute.sub"),),
    )
    member = built(changed, facts)["binding/default/workload-identity-demo"].identity["member"]
    assert member == f"principalSet://iam.googleapis.com/{POOL}/attribute.sub/system:serviceaccount:default:workload-identity-demo"


def test_direct_access_gives_the_roles_to_the_workloads_own_principal(federation: Federation, facts: Facts, workload: Workload) -> None:
    direct = replace(federation, workloads=(replace(workload, google_service_account=None),))
    resources = built(direct, facts)
    address = "grant/default/workload-identity-demo:storage.admin@project/demo-project"
    assert resources[address].identity["member"].startswith("principal://")
    assert not {"account/wif-demo-sa", "binding/default/workload-identity-demo", "api/iamcredentials.googleapis.com"} & resources.keys()
    assert "token_info_url" in json.loads(resources["configmap/default/sts-config"].body["content"])


def test_an_account_named_by_its_email_is_bound_to_and_never_made(federation: Federation, facts: Facts, workload: Workload) -> None:
    email = GoogleServiceAccount("theirs@other-project.iam.gserviceaccount.com")
    changed = replace(federation, workloads=(replace(workload, google_service_account=email, account_is_existing=True),))
    resources = built(changed, facts)
    assert not [address for address in resources if address.startswith("account/")]
    assert "binding/default/workload-identity-demo" in resources
    assert f"grant/{email}:storage.admin@project/demo-project" in resources


def test_two_workloads_of_one_account_make_it_and_its_roles_once(federation: Federation, facts: Facts, workload: Workload) -> None:
    second = replace(workload, service_account=ServiceAccountRef("shop", "web"), credentials=None)
    resources = built(replace(federation, workloads=(workload, second)), facts)
    assert [address for address in resources if address.startswith(("account/", "grant/", "binding/"))] == [
        "account/wif-demo-sa",
        "binding/default/workload-identity-demo",
        "grant/wif-demo-sa:storage.admin@project/demo-project",
        "binding/shop/web",
    ]


def test_grants_with_conditions_of_one_title_stay_two_grants(federation: Federation, facts: Facts, workload: Workload) -> None:
    grants = tuple(
        Grant("roles/storage.objectViewer", bucket="other-bucket", condition=GrantCondition("Only A", text)) for text in ("true", "false")
    )
    resources = built(replace(federation, workloads=(replace(workload, grants=grants),)), facts)
    found = [one for address, one in resources.items() if "@bucket/other-bucket:only-a" in address]
    assert [one.identity["condition"]["expression"] for one in found] == ["true", "false"]
    assert "api/storage.googleapis.com" in resources


def test_a_grant_on_another_project_says_so(federation: Federation, facts: Facts, workload: Workload) -> None:
    changed = replace(workload, grants=(Grant("roles/viewer", project="other"),))
    resources = built(replace(federation, workloads=(changed,)), facts)
    assert resources["grant/wif-demo-sa:viewer@project/other"].identity["target"] == "project/other"


def test_the_generated_condition_admits_the_declared_accounts_alone() -> None:
    one, two = ServiceAccountRef("a", "b"), ServiceAccountRef("a", "c")
    assert condition.generated([]) == "false"
    assert condition.generated([one]) == "assertion.sub == 'system:serviceaccount:a:b'"
    assert condition.generated([two, one]) == "assertion.sub in ['system:serviceaccount:a:b', 'system:serviceaccount:a:c']"
    assert condition.generated([two], ["b", "a"]) == "assertion['kubernetes.io']['namespace'] in ['a', 'b']"
    by_subject = "assertion.sub == 'system:serviceaccount:a:c'"
    assert condition.generated([two], ["b"]) == f"{by_subject} || assertion['kubernetes.io']['namespace'] == 'b'"


def test_many_accounts_are_named_by_namespace_and_the_condition_judges_the_same() -> None:
    accounts = [ServiceAccountRef(f"team-{index % 3}", f"app-{index}") for index in range(150)]
    text = condition.generated([*accounts, ServiceAccountRef("b", "c")], ["whole"])
    assert len(text) <= CONDITION_LIMIT_CHARS

    def admits(namespace: str, name: str) -> bool:
        claims = Claims(ServiceAccountRef(namespace, name), "https://i.example").members()
        return compile_condition(text).evaluate({"assertion": claims, "google": {}, "attribute": {}}) is True

    assert all(admits(one.namespace, one.name) for one in accounts)
    assert admits("b", "c")
    assert admits("whole", "anybody")
    # The name of one in the namespace of another.
    assert not any(admits(*one) for one in (("team-1", "app-0"), ("b", "app-0"), ("team-0", "c"), ("other", "default")))


def test_a_mapping_without_a_value_for_the_workload_is_refused_with_its_expression(federation: Federation, facts: Facts) -> None:
    mapping = {"google.subject": "assertion['kubernetes.io'].serviceaccount.uid"}
    changed = replace(federation, google=replace(federation.google, attribute_mapping=mapping))
    assert built(changed, facts)["binding/default/workload-identity-demo"].identity["member"].endswith("/subject/uid-of-the-account")
    with pytest.raises(ConfigError, match="its uid is not known: create it first") as caught:
        built(changed, replace(facts, account_uids={}))
    assert caught.value.full_code == "config.unmapped"
    with pytest.raises(ConfigError, match=r"google\.subject has no value for the workload default/workload-identity-demo"):
        built(replace(changed, google=replace(changed.google, attribute_mapping={"google.subject": "assertion.email"})), facts)


FORMER = Standing("wif-demo-oidc", "https://10.0.0.1:6443", "inline")
COMING = Standing("cluster-2", "https://storage.googleapis.com/demo-oidc", "bucket", BucketSettings("demo-oidc"))
BEGUN = IssuerMove.begin("workload-identity-demo", FORMER, COMING, timedelta(hours=24))
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


def during(move: IssuerMove, federation: Federation, facts: Facts) -> dict[str, Resource]:
    return desired.by_address(desired.resources(move.as_file(federation, COMING), facts, move))


def test_during_a_move_both_issuers_are_published_and_have_like_providers(federation: Federation, facts: Facts) -> None:
    found = during(BEGUN, federation, facts)
    former, coming = found["provider/wif-demo-oidc"].body, found["provider/cluster-2"].body
    assert "object/demo-oidc/keys.json" in found
    assert (former["oidc.issuerUri"], coming["oidc.issuerUri"]) == (FORMER.issuer, COMING.issuer)
    assert (bool(former["oidc.jwksJson"]), bool(coming["oidc.jwksJson"])) == (True, False)
    for field in ("attributeMapping", "attributeCondition"):
        assert former[field] == coming[field]


def test_during_a_move_either_provider_takes_tokens_for_either_audience_within_googles_limits(federation: Federation, facts: Facts) -> None:
    google = federation.google
    declared = replace(federation, google=replace(google, provider=replace(google.provider, former_ids=("one1", "two2", "three3"))))
    found = during(BEGUN, declared, facts)
    ends = {f"//iam.googleapis.com/{POOL}/providers/{one}" for one in ("wif-demo-oidc", "cluster-2")}
    for provider in ("wif-demo-oidc", "cluster-2"):
        audiences = found[f"provider/{provider}"].body["oidc.allowedAudiences"]
        assert {*ends, *(f"https:{one}" for one in ends)} <= set(audiences)
        assert len(audiences) == len(set(audiences)) == 10


def test_the_config_maps_say_what_the_step_at_hand_asks_for(federation: Federation, facts: Facts) -> None:
    telling = BEGUN.published()
    configuring = telling.told(NOW).stepped().switched(NOW)
    forgetting = configuring.stepped().stepped().stepped()
    seen = []
    for move in (BEGUN, telling, configuring, forgetting):
        body = during(move, federation, facts)["configmap/default/sts-config"].body
        listed = [one["issuer"] for one in json.loads(body["providers"])["providers"]] if body["providers"] else []
        seen.append((json.loads(body["content"])["audience"].rpartition("/")[2], listed))
    both = [FORMER.issuer, COMING.issuer]
    assert seen == [("wif-demo-oidc", []), ("wif-demo-oidc", both), ("cluster-2", both), ("cluster-2", [])]
    assert "provider/wif-demo-oidc" not in during(forgetting, federation, facts)
    assert "bucket/demo-oidc" in during(BEGUN.turned_back().stepped(), federation, facts)
    assert "providers" not in built(federation, facts)["configmap/default/sts-config"].body


def test_a_former_id_keeps_its_audience_as_long_as_the_file_names_it(federation: Federation, facts: Facts) -> None:
    google = federation.google
    declared = replace(federation, google=replace(google, provider=replace(google.provider, former_ids=("cluster-0",))))
    audiences = built(declared, facts)["provider/wif-demo-oidc"].body["oidc.allowedAudiences"]
    assert [one.rpartition("/")[2] for one in audiences] == ["wif-demo-oidc", "wif-demo-oidc", "cluster-0", "cluster-0"]
