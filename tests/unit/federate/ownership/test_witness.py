# SPDX-License-Identifier: Apache-2.0
"""Who besides the receipt says that a thing is podpass's: the file and the marks, each for its own and no more."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from podpass.config.federation import (
    BucketSettings,
    Federation,
    Grant,
    GrantCondition,
    IssuerSettings,
    PoolSettings,
    Workload,
)
from podpass.federate.model.marks import Mark
from podpass.federate.model.resource import JSON, Kind, Observed, Resource
from podpass.federate.ownership import witness
from podpass.federate.ownership.witness import Witness
from podpass.federate.records.receipt import Entry, Receipt, State
from podpass.names import GoogleServiceAccount, Issuer

NUMBER, PROJECT = "415104041262", "demo-project"
OURS = Mark("demo", "cluster-a")
POOLS = f"principal://iam.googleapis.com/projects/{NUMBER}/locations/global/workloadIdentityPools"
OWN, EXISTING = (f"{name}@demo-project.iam.gserviceaccount.com" for name in ("wif-demo-sa", "shared-sa"))
EMPTY = Receipt("demo", "cluster-a", PROJECT)
CONDITION = {"title": "Office hours", "expression": "request.time.getHours('Europe/Berlin') < 18"}


def item(member: str, role: str = "roles/storage.admin", target: str = f"project/{PROJECT}", **more: object) -> Mapping[str, JSON]:
    return {"target": target, "role": role, "member": member, **more}


def of(federation: Federation | None, **entries: tuple[Mapping[str, JSON], Mark | None]) -> Witness:
    """Return who speaks for a receipt with these entries (kind: identity, mark at Google)."""
    book = EMPTY.with_entries({f"{kind}/x": Entry(State.MADE, identity) for kind, (identity, _) in entries.items()})
    return witness.of(federation, book, {f"{kind}/x": Observed("present", mark=mark) for kind, (_, mark) in entries.items()}, NUMBER)


POOL = {"project": PROJECT, "pool": "former-pool"}


@pytest.mark.parametrize(
    ("mark", "identity", "known"),
    [
        (OURS, POOL, True),
        (None, POOL, False),
        (Mark("demo", "cluster-b"), POOL, False),
        (Mark("billing", "cluster-a"), POOL, False),
        (OURS, {**POOL, "project": "prod-project"}, False),
    ],
)
def test_a_pool_that_bears_the_mark_speaks_for_its_principals(mark: Mark | None, identity: Mapping[str, JSON], *, known: bool) -> None:
    assert of(None, pool=(identity, mark)).knows(item(f"{POOLS}/former-pool/subject/s")) is known


def test_an_account_and_a_bucket_that_bear_the_mark_speak_for_their_members() -> None:
    found = of(None, account=({"project": PROJECT, "email": OWN}, OURS), bucket=({"project": PROJECT, "bucket": "demo-oidc"}, OURS))
    assert found.knows(item(f"serviceAccount:{OWN}"))
    assert found.knows(item("allUsers", target="bucket/demo-oidc"))
    assert not found.knows(item("allUsers", target="bucket/website"))
    assert not found.knows(item(f"serviceAccount:{EXISTING}"))


def test_the_file_speaks_for_its_own_pool_and_accounts(federation: Federation) -> None:
    found = of(federation)
    assert found.knows(item(f"{POOLS}/workload-identity-demo/subject/anybody", "roles/owner"))
    assert found.knows(item(f"serviceAccount:{OWN}", "roles/owner"))
    assert not found.knows(item(f"{POOLS}/prod-pool/subject/s"))
    assert not found.knows(item(f"{POOLS}/workload-identity-demo/subject/s".replace(NUMBER, "1")))
    assert not found.knows(item(f"serviceAccount:{EXISTING}"))


@pytest.mark.parametrize("other", [{"name": "billing"}, {"project": "prod-project"}])
def test_a_file_of_another_federation_or_project_says_nothing(federation: Federation, other: dict[str, str]) -> None:
    google = replace(federation.google, project=other.get("project", PROJECT))
    found = of(replace(federation, name=other.get("name", "demo"), google=google))
    assert found == witness.NOBODY
    assert not found.knows(item(f"{POOLS}/workload-identity-demo/subject/s"))


def test_of_what_the_file_refers_to_only_what_it_gives_is_known(federation: Federation, workload: Workload) -> None:
    grants = (Grant("roles/viewer", project="other-project", condition=GrantCondition(**CONDITION)), Grant("roles/viewer", bucket="photos"))
    shared = replace(workload, google_service_account=GoogleServiceAccount(EXISTING), account_is_existing=True, grants=grants)
    bucket = IssuerSettings(Issuer("https://storage.googleapis.com/theirs"), "bucket", BucketSettings("theirs"))
    direct = replace(workload, google_service_account=None, roles=("roles/browser",), grants=())
    google = replace(federation.google, pool=PoolSettings("their-pool", existing=True))
    found = of(replace(federation, google=google, issuer=bucket, workloads=(shared, direct)))
    assert found.knows(item(f"serviceAccount:{EXISTING}"))
    assert found.knows(item(f"serviceAccount:{EXISTING}", "roles/viewer", "project/other-project", condition=CONDITION))
    assert found.knows(item(f"serviceAccount:{EXISTING}", "roles/viewer", "bucket/photos"))
    assert not found.knows(item(f"serviceAccount:{EXISTING}", "roles/viewer", "project/other-project"))
    assert not found.knows(item(f"serviceAccount:{EXISTING}", "roles/owner"))
    assert not found.knows(item(f"serviceAccount:{EXISTING}", target="project/prod-project"))
    theirs = f"{POOLS}/their-pool/subject/s"
    assert found.knows(item(theirs, "roles/browser"))
    assert found.knows(item(theirs, "roles/iam.workloadIdentityUser", f"account/{EXISTING}"))
    assert not found.knows(item(theirs, "roles/iam.workloadIdentityUser", f"account/{OWN}"))
    assert not found.knows(item(theirs, "roles/owner"))
    assert found.knows(item("allUsers", "roles/storage.legacyObjectReader", "bucket/theirs"))
    assert not found.knows(item("allUsers", "roles/storage.objectViewer", "bucket/theirs"))
    assert not found.knows(item("allUsers", "roles/viewer", "bucket/website"))


def test_a_document_goes_with_its_own_mark_or_that_of_its_bucket() -> None:
    entry = Entry(State.MADE, {"bucket": "demo-oidc", "object": "keys.json"})
    marked = of(None, bucket=({"project": PROJECT, "bucket": "demo-oidc"}, OURS))
    assert marked.bears_out(Kind.OBJECT, entry, Observed("present"), OURS)
    assert witness.NOBODY.bears_out(Kind.OBJECT, entry, Observed("present", mark=OURS), OURS)
    assert not witness.NOBODY.bears_out(Kind.OBJECT, entry, Observed("present"), OURS)


def test_a_former_member_that_only_the_receipt_names_is_told_with_the_command_that_takes_it_away(federation: Federation) -> None:
    theirs = item(f"{POOLS}/prod-pool/subject/s")
    ours = Resource("grant/default/a:storage.admin@project/demo-project", item(f"{POOLS}/workload-identity-demo/subject/a"))
    account = Resource("account/wif-demo-sa", {})
    book = EMPTY.with_entries({ours.address: Entry(State.MADE, theirs, former=(ours.identity,)), account.address: Entry(State.MADE, {})})
    read = {f"project/{PROJECT}": {"bindings": [{"role": "roles/storage.admin", "members": [theirs["member"], ours.identity["member"]]}]}}
    (caution,) = witness.cautions(of(federation), book, (account, ours), read, PROJECT)
    assert caution.code == "former-member"
    assert f"podpass gave {theirs['member']} roles/storage.admin on project/{PROJECT} before." in caution.message
    assert f"remove-iam-policy-binding {PROJECT} --member={theirs['member']} --role=roles/storage.admin" in caution.message
    assert not list(witness.cautions(of(federation), book, (account, ours), {}, PROJECT))
