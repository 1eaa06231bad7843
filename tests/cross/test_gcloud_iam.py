# SPDX-License-Identifier: Apache-2.0
"""Pools, providers, accounts and policies by the real gcloud: what goes wrong, in Google's words, and policies that survive."""

import json
import shutil
from collections.abc import Iterator
from datetime import timedelta

import pytest

from cross.outside import ACCOUNT, POOL, PROJECT, PROVIDER, SUBJECT, Issuer, Outside
from podpass.sandbox.hosting import HostedSandbox
from podpass.sandbox.settings import SandboxSettings

pytestmark = [pytest.mark.gcloud, pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")]

POOLS = ("gcloud", "iam", "workload-identity-pools")
HERE = ("--location=global", "--workload-identity-pool=taken")
OWNERS = {"role": "roles/owner", "members": ["user:operator@example.com"]}
MAPPING = "--attribute-mapping=google.subject=assertion.sub"


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Outside]:
    settings = SandboxSettings(propagation=timedelta(0), account_visibility=timedelta(0))
    with HostedSandbox(settings, with_cluster=False) as sandbox:
        outside = Outside(sandbox, tmp_path_factory.mktemp("outside"))
        outside.does("gcloud", "iam", "service-accounts", "create", "wif-demo-sa")
        yield outside


def test_a_deleted_pool_s_id_is_taken_until_it_is_undeleted(outside: Outside) -> None:
    outside.does(*POOLS, "create", "deleted", "--location=global")
    outside.does(*POOLS, "delete", "deleted", "--location=global")
    again = outside.fails(*POOLS, "create", "deleted", "--location=global")
    assert "ALREADY_EXISTS: Requested entity already exists" in again
    assert "Listed 0 items." in outside.run(*POOLS, "list", "--location=global").stderr.decode()
    outside.does(*POOLS, "undelete", "deleted", "--location=global")
    state = outside.does(*POOLS, "describe", "deleted", "--location=global", "--format=value(state)")
    assert state == "ACTIVE\n"


def test_a_provider_that_google_would_refuse_is_refused_in_its_words(outside: Outside) -> None:
    outside.does(*POOLS, "create", "taken", "--location=global")
    create = (*POOLS, "providers", "create-oidc")
    plain = outside.fails(*create, "oidc-one", *HERE, MAPPING, "--issuer-uri=http://issuer.example")
    assert "INVALID_ARGUMENT: Invalid OIDC issuer URI. The scheme must be https." in plain
    assert "INVALID_ARGUMENT" in outside.fails(*create, "gcp-oidc", *HERE, MAPPING, "--issuer-uri=https://issuer.example")
    outside.does(*create, "oidc-one", *HERE, MAPPING, "--issuer-uri=https://issuer.example", "--disabled")
    # gcloud's update carries `disabled: false`, unasked; only the mask counts (google-behaviour: pools).
    outside.does(*POOLS, "providers", "update-oidc", "oidc-one", *HERE, "--display-name=One")
    described = json.loads(outside.does(*POOLS, "providers", "describe", "oidc-one", *HERE, "--format=json"))
    assert (described["displayName"], described["disabled"]) == ("One", True)


def test_an_account_is_refused_twice_and_when_it_does_not_exist(outside: Outside) -> None:
    taken = outside.fails("gcloud", "iam", "service-accounts", "create", "wif-demo-sa")
    assert f"Service account wif-demo-sa already exists within project projects/{PROJECT}" in taken
    bind = ("gcloud", "projects", "add-iam-policy-binding", PROJECT, "--role=roles/storage.admin")
    unknown = outside.fails(*bind, f"--member=serviceAccount:nobody@{PROJECT}.iam.gserviceaccount.com")
    assert f"INVALID_ARGUMENT: Service account nobody@{PROJECT}.iam.gserviceaccount.com does not exist." in unknown


def test_impersonation_needs_a_binding_and_the_account_a_role(outside: Outside) -> None:
    as_account = {"CLOUDSDK_AUTH_IMPERSONATE_SERVICE_ACCOUNT": ACCOUNT}
    denied = outside.fails("gcloud", "storage", "ls", environment=as_account)
    assert "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)." in denied
    bind = ("gcloud", "iam", "service-accounts", "add-iam-policy-binding", ACCOUNT, "--role=roles/iam.serviceAccountTokenCreator")
    outside.does(*bind, f"--member=user:{outside.sandbox.settings.operator}", "--condition=None")
    powerless = outside.fails("gcloud", "storage", "ls", environment=as_account)
    assert (
        f"HTTPError 403: {ACCOUNT} does not have storage.buckets.list access to the Google Cloud project. "
        "Permission 'storage.buckets.list' denied on resource (or it may not exist)."
    ) in powerless


def test_a_policy_s_etag_is_bytes_whatever_alphabet_gcloud_writes_them_in(outside: Outside) -> None:
    token = outside.does("gcloud", "auth", "print-access-token")
    curl = ("curl", "-sSf", "-H", "@-", "-H", "Content-Type: application/json", "-d", "@policy.json")
    (outside.directory / "policy.json").write_text(json.dumps({"policy": {"bindings": [OWNERS]}}))
    # Write until an etag comes in which the two alphabets differ; about every third does.
    for _ in range(100):
        url = f"https://cloudresourcemanager.googleapis.com/v1/projects/{PROJECT}:setIamPolicy"
        etag = json.loads(outside.does(*curl, url, stdin=f"Authorization: Bearer {token}".encode()))["etag"]
        if set(etag) & set("+/"):
            break
    # gcloud reads it, and writes it back in the URL-safe alphabet (google-behaviour: policies).
    bind = ("gcloud", "projects", "add-iam-policy-binding", PROJECT, "--format=value(etag)", "--condition=None", "--log-http")
    ended = outside.run(*bind, "--role=roles/browser", "--member=user:second@example.com")
    assert ended.returncode == 0, ended.stderr.decode()
    assert etag in ended.stderr.decode()
    assert etag.replace("+", "-").replace("/", "_") in ended.stderr.decode()


def test_a_stale_etag_is_a_conflict_and_nothing_is_overwritten(outside: Outside) -> None:
    stale = outside.does("gcloud", "iam", "service-accounts", "get-iam-policy", ACCOUNT, "--format=json")
    (outside.directory / "stale.json").write_text(stale)
    bind = ("gcloud", "iam", "service-accounts", "add-iam-policy-binding", ACCOUNT, "--member=user:third@example.com")
    condition = "--condition=title=until,expression=request.time < timestamp('2100-01-01T00:00:00Z')"
    outside.does(*bind, "--role=roles/iam.serviceAccountUser", condition)
    conflict = outside.fails("gcloud", "iam", "service-accounts", "set-iam-policy", ACCOUNT, "stale.json")
    assert "ABORTED: There were concurrent policy changes." in conflict
    outside.does(*bind, "--role=roles/iam.serviceAccountUser", "--condition=None")
    bindings = json.loads(outside.does("gcloud", "iam", "service-accounts", "get-iam-policy", ACCOUNT, "--format=json"))["bindings"]
    assert [each.get("condition", {}).get("title") for each in bindings if "user:third@example.com" in each["members"]] == [None, "until"]


def test_gcloud_acts_as_a_workload_itself(outside: Outside) -> None:
    issuer = Issuer("https://issuer.example/direct")
    (outside.directory / "keys.json").write_text(issuer.keys)
    (outside.directory / "token").write_text(issuer.token())
    outside.does(*POOLS, "create", "workload-identity-demo", "--location=global")
    here = ("--location=global", "--workload-identity-pool=workload-identity-demo", "--jwk-json-path=keys.json")
    outside.does(*POOLS, "providers", "create-oidc", "wif-demo-oidc", *here, MAPPING, f"--issuer-uri={issuer.url}")
    workload = f"principal://iam.googleapis.com/{POOL}/subject/{SUBJECT}"
    bind = ("gcloud", "projects", "add-iam-policy-binding", PROJECT, "--role=roles/storage.admin", "--condition=None")
    outside.does(*bind, f"--member={workload}")
    outside.does(*POOLS, "create-cred-config", PROVIDER, "--credential-source-file=token", "--output-file=direct.json")
    # Another configuration directory: in the one of before, gcloud would find the operator's access token (google-behaviour: clients).
    path = str(outside.directory / "direct.json")
    itself = {"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": path, "CLOUDSDK_CONFIG": str(outside.directory / "of-the-workload")}
    outside.does("gcloud", "storage", "buckets", "create", "gs://by-a-workload", environment=itself)
    assert outside.callers("storage.buckets.insert")[-1] == workload
    assert outside.callers("sts.introspect")  # how gcloud learns what to call itself
