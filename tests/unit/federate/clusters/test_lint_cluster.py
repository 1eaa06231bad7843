# SPDX-License-Identifier: Apache-2.0
"""The faults of a cluster as it stands, and of a federation file that asks for too much."""

from dataclasses import replace
from datetime import timedelta

import pytest

from podpass.config.federation import BucketSettings, Federation, IssuerSettings, TokenSettings
from podpass.federate.clusters.evidence import Evidence, Publication
from podpass.federate.clusters.lint_cluster import findings_of_cluster, findings_of_federation, standing_of
from podpass.federate.clusters.portrait import draw
from podpass.federate.clusters.statement import ProjectedToken
from podpass.kube.issuer import Discovery
from podpass.names import Issuer
from unit.federate.clusters.conftest import ISSUER, MakeEvidence, claims

GOOGLE = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/o"
PUBLIC = "https://storage.googleapis.com/demo-oidc"


def codes(evidence: Evidence, *tokens: ProjectedToken) -> list[str]:
    return [one.code.removeprefix("lint.") for one in findings_of_cluster(evidence, draw(evidence), tokens)]


def command(*flags: str) -> tuple[str, ...]:
    return ("kube-apiserver", *flags)


def test_a_plain_cluster_has_no_fault(answers: MakeEvidence) -> None:
    assert codes(answers()) == []


def test_googles_audience_shows_in_a_token_also_where_flags_are_hidden(answers: MakeEvidence) -> None:
    assert codes(answers(claims=claims(iss=ISSUER, aud=[ISSUER, GOOGLE]))) == ["google-audience"]
    flags = command(f"--service-account-issuer={ISSUER}", f"--api-audiences={ISSUER},{GOOGLE}")
    assert codes(answers(commands=(flags,))) == ["google-audience"]


def test_servers_that_differ_are_found(answers: MakeEvidence) -> None:
    one, other = command(f"--service-account-issuer={ISSUER}"), command(f"--service-account-issuer={PUBLIC}")
    assert codes(answers(commands=(one, one))) == []
    assert codes(answers(commands=(one, other))) == ["servers-differ"]


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        (Publication(False, "storage.googleapis.com answered 404."), ["not-published"]),
        (Publication(True, "read", frozenset({"another"})), ["not-published"]),
        (Publication(None, "no network"), []),
    ],
)
def test_an_issuer_with_a_public_name_has_to_publish_the_clusters_keys(
    answers: MakeEvidence, seen: Publication, expected: list[str]
) -> None:
    moved = answers(discovery=Discovery(PUBLIC, "", b""), publication=seen)
    assert codes(moved) == expected
    kids = frozenset(key.kid for key in draw(moved).keys.value or ())
    assert codes(replace(moved, publication=Publication(True, "read", kids))) == []


def test_an_issuer_that_nobody_was_meant_to_look_up_is_left_alone(answers: MakeEvidence) -> None:
    own = Publication(False, "its certificate is not trusted")
    public_name = answers(
        server="https://api.demo.example:6443", discovery=Discovery("https://api.demo.example:6443", "", b""), publication=own
    )
    assert codes(public_name) == []


def test_issuers_addresses_and_tokens_are_judged_as_in_files(answers: MakeEvidence) -> None:
    assert codes(answers(discovery=Discovery("kubernetes", "", b""))) == ["issuer-form"]
    elsewhere = command(f"--service-account-issuer={ISSUER}", "--service-account-jwks-uri=https://other.example/keys")
    assert codes(answers(commands=(elsewhere, elsewhere))) == ["jwks-uri"]
    assert codes(answers(), ProjectedToken("Pod web", GOOGLE, timedelta(hours=48))) == ["token-life"]


def test_what_a_change_is_compared_with_is_every_servers_flags(answers: MakeEvidence) -> None:
    one, other = command(f"--service-account-issuer={ISSUER}"), command(f"--service-account-issuer={PUBLIC}", "--api-audiences=x")
    seen = answers(commands=(one, other))
    now = standing_of(seen, draw(seen))
    assert (now.issuers, now.audiences) == ((ISSUER, PUBLIC), (ISSUER, "x"))
    hidden = answers()
    assert standing_of(hidden, draw(hidden)).issuers == (ISSUER,)


def test_a_federation_that_asks_for_no_more_than_it_needs_has_no_fault(federation: Federation) -> None:
    modest = replace(federation.workloads[0], roles=("roles/storage.objectViewer",))
    assert list(findings_of_federation(replace(federation, workloads=(modest,)))) == []


def test_each_excess_of_a_federation_is_named(federation: Federation) -> None:
    excessive = replace(federation.workloads[0], member="attribute.sub", token=TokenSettings(timedelta(hours=24)))
    issuer = IssuerSettings(Issuer(PUBLIC), "bucket", BucketSettings("demo-oidc"))
    found = list(findings_of_federation(replace(federation, workloads=(excessive,), issuer=issuer)))
    assert [one.code.removeprefix("lint.") for one in found] == ["principal-set", "broad-role", "token-life", "bucket-not-needed"]
    assert {one.where for one in found} == {"podpass.yaml:1:1"}
