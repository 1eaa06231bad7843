# SPDX-License-Identifier: Apache-2.0
"""podpass's calls to Google, on the sandbox: what they make, what they find, what they do when others write too."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from podpass.google import iam, operator, policy, projects, services, storage
from podpass.google.backoff import Pacing
from podpass.google.connections import new_http
from podpass.google.fault import FaultKind, GoogleRefusedError
from podpass.google.policy_edit import edit_policy
from podpass.google.rest import GoogleClient
from podpass.google.storage import StoredObject
from podpass.names import GoogleServiceAccount, PoolName, Principal
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

PROJECT, NUMBER = "demo-project", "415104041262"
POOL = PoolName(NUMBER, "calls-pool")
MEMBERS = PoolName(NUMBER, "calls-members")
ROLE = "roles/iam.workloadIdentityUser"


@pytest.fixture(scope="module")
def client() -> Iterator[GoogleClient]:
    """The operator of a sandbox in which changes take a moment to be known, and there is a pool."""
    settings = SandboxSettings(propagation=timedelta(milliseconds=100), account_visibility=timedelta(milliseconds=300))
    with HostedSandbox(settings, with_cluster=False) as sandbox, pytest.MonkeyPatch.context() as patch:
        for name, value in sandbox.environment().items():
            patch.setenv(name, value)
        http = new_http()
        with GoogleClient(operator.find(http), http=http, pacing=Pacing(first=timedelta(milliseconds=50))) as client:
            iam.create_pool(client, MEMBERS, {})
            yield client


def account(name: str) -> GoogleServiceAccount:
    return GoogleServiceAccount.parse(name, project=PROJECT)


def test_the_operator_is_found_and_knows_the_project(client: GoogleClient) -> None:
    assert projects.get_project(client, PROJECT) == projects.get_project(client, NUMBER) == projects.Project(PROJECT, NUMBER)
    assert projects.missing_permissions(client, PROJECT, ["storage.buckets.create", "no.such.permission"]) == {"no.such.permission"}
    with pytest.raises(GoogleRefusedError) as caught:
        projects.get_project(client, "other-project-of-others")
    assert caught.value.kind is FaultKind.PERMISSION_DENIED
    assert "lacks resourcemanager.projects.get" in caught.value.why


def test_apis_are_listed_and_enabled(client: GoogleClient) -> None:
    services.enable_service(client, PROJECT, "iam.googleapis.com")
    assert "iam.googleapis.com" in services.enabled_services(client, PROJECT)


def test_a_pool_and_its_provider_live_and_die_and_live_again(client: GoogleClient) -> None:
    provider = POOL.provider("calls-provider")
    assert iam.get_pool(client, POOL) is None
    iam.create_pool(client, POOL, {"displayName": "Calls"})
    with pytest.raises(GoogleRefusedError) as caught:
        iam.create_pool(client, POOL, {})
    assert caught.value.kind is FaultKind.ALREADY_EXISTS
    iam.create_provider(
        client, provider, {"oidc": {"issuerUri": "https://a.example"}, "attributeMapping": {"google.subject": "assertion.sub"}}
    )
    iam.update_provider(client, provider, {"attributeCondition": "true", "displayName": "Not said in the mask"}, ["attributeCondition"])
    (found,) = iam.list_providers(client, POOL)
    assert found["attributeCondition"] == "true"
    assert "displayName" not in found
    assert iam.delete_provider(client, provider)
    assert not iam.delete_provider(client, provider)
    assert (iam.get_provider(client, provider) or {})["state"] == "DELETED"
    iam.undelete_provider(client, provider)
    assert iam.delete_pool(client, POOL)
    iam.undelete_pool(client, POOL)
    assert (iam.get_pool(client, POOL) or {})["state"] == "ACTIVE"


def test_a_provider_that_google_refuses_is_told_in_its_words(client: GoogleClient) -> None:
    pool = PoolName(NUMBER, "calls-refused")
    iam.create_pool(client, pool, {})
    body = {"oidc": {"issuerUri": "http://a.example"}, "attributeMapping": {"google.subject": "assertion.sub"}}
    with pytest.raises(GoogleRefusedError, match=r"Invalid OIDC issuer URI\. The scheme must be https"):
        iam.create_provider(client, pool.provider("plain"), body)


def test_a_grant_to_an_account_that_was_just_made_waits_until_it_is_known(client: GoogleClient) -> None:
    new = account("calls-new")
    assert iam.get_service_account(client, new) is None
    iam.create_service_account(client, PROJECT, new.account_id, {"displayName": "Calls"})
    holder = projects.ProjectPolicy(client, PROJECT)
    pacing = Pacing(first=timedelta(milliseconds=100))
    edited = edit_policy(holder, lambda p: policy.add_member(p, "roles/viewer", new.member), just_created=True, pacing=pacing)
    assert edited.was_written
    assert not edit_policy(holder, lambda p: policy.add_member(p, "roles/viewer", new.member)).was_written
    assert edit_policy(holder, lambda p: policy.remove_member(p, "roles/viewer", new.member)).was_written
    assert iam.delete_service_account(client, new)
    assert not iam.delete_service_account(client, new)


def test_a_grant_to_an_account_that_nobody_made_is_refused_at_once(client: GoogleClient) -> None:
    with pytest.raises(GoogleRefusedError, match="does not exist"):
        edit_policy(projects.ProjectPolicy(client, PROJECT), lambda p: policy.add_member(p, "roles/viewer", account("nobody-ever").member))


def test_the_last_binding_of_an_account_leaves_an_empty_policy(client: GoogleClient) -> None:
    lonely = account("calls-lonely")
    iam.create_service_account(client, PROJECT, lonely.account_id, {})
    holder = iam.ServiceAccountPolicy(client, lonely)
    member = str(Principal(MEMBERS, "subject", "system:serviceaccount:default:a"))
    condition = {"title": "t", "expression": "true"}
    edit_policy(holder, lambda p: policy.add_member(p, ROLE, member, condition), just_created=True)
    assert holder.read_policy()["version"] == 3
    assert edit_policy(holder, lambda p: policy.remove_member(p, ROLE, member, condition)).was_written
    assert "bindings" not in holder.read_policy()


def test_invariant_6_everybody_who_writes_at_once_keeps_everybody_elses_bindings(client: GoogleClient) -> None:
    shared = account("calls-shared")
    iam.create_service_account(client, PROJECT, shared.account_id, {})
    holder = iam.ServiceAccountPolicy(client, shared)
    foreign = {"title": "foreign", "expression": "request.time < timestamp('2030-01-01T00:00:00Z')"}
    edit_policy(holder, lambda p: policy.add_member(p, "roles/viewer", "user:foreign@example.com", foreign), just_created=True)
    members = [str(Principal(MEMBERS, "subject", f"system:serviceaccount:default:a{number}")) for number in range(8)]
    pacing = Pacing(first=timedelta(milliseconds=20))

    def join(member: str) -> None:
        edit_policy(holder, lambda p: policy.add_member(p, ROLE, member), pacing=pacing)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(join, members))
    final = holder.read_policy()
    assert sorted(member for each in final["bindings"] if each["role"] == ROLE for member in each["members"]) == sorted(members)
    [other] = [each for each in final["bindings"] if each["role"] != ROLE]
    assert other == {"role": "roles/viewer", "members": ["user:foreign@example.com"], "condition": foreign}


def test_a_bucket_publishes_a_document_under_preconditions(client: GoogleClient) -> None:
    name, path = "calls-oidc", ".well-known/openid-configuration"
    assert storage.get_bucket(client, name) is None
    storage.create_bucket(
        client,
        PROJECT,
        name,
        {"location": "US-EAST1", "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}}, "labels": {"podpass": "calls"}},
    )
    assert (storage.get_bucket(client, name) or {})["labels"] == {"podpass": "calls"}
    document = StoredObject(b'{"issuer":"x"}\n', "0", "public, max-age=0", "application/json", {"by": "podpass"})
    generation = storage.put_object(client, name, path, document)
    assert storage.get_object(client, name, path) == StoredObject(
        document.content, generation, document.cache_control, document.content_type, document.metadata
    )
    with pytest.raises(GoogleRefusedError) as caught:
        storage.put_object(client, name, path, document)
    assert caught.value.kind is FaultKind.ABORTED
    assert storage.list_objects(client, name) == [path]
    with pytest.raises(GoogleRefusedError) as caught:
        storage.delete_bucket(client, name)
    assert caught.value.kind is FaultKind.FAILED_PRECONDITION
    holder = storage.BucketPolicy(client, name)
    reader = "roles/storage.legacyObjectReader"
    edit_policy(holder, lambda p: policy.add_member(p, reader, "allUsers"))
    assert policy.has_member(holder.read_policy(), reader, "allUsers")
    assert storage.delete_object(client, name, path, generation=generation)
    assert not storage.delete_object(client, name, path)
    assert storage.delete_bucket(client, name)
    assert not storage.delete_bucket(client, name)
