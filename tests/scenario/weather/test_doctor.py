# SPDX-License-Identifier: Apache-2.0
"""What is wrong with Google as a whole is named, by doctor or by apply, with the cure; and the cure cures."""

import re
import time

import pytest
import yaml

from podpass.google import storage
from podpass.google.storage import StoredObject
from podpass.sandbox.cluster import IssuerChange
from scenario.federate.conftest import Story
from scenario.weather.conftest import weather


@pytest.fixture
def federated(story: Story) -> Story:
    """A story whose chain holds."""
    story.content["spec"]["workloads"][0]["googleServiceAccount"] = f"{story.name}-sa"
    story.file.write_text(yaml.safe_dump(story.content))
    story.done("apply", "--yes")
    assert broken(story) is None
    return story


def broken(story: Story) -> str | None:
    """Return what doctor says of the first broken link, on one line; None: there is none."""
    for _ in range(30):
        answer = story.run("doctor")
        if answer.code == 0:
            return None
        if answer.error:
            return str(answer.error)
        found = " ".join(answer.out.rpartition("✗")[2].split())
        if "may act as" not in found and "yet." not in found and "getAccessToken" not in found:
            return found
        time.sleep(0.1)  # real propagation, of the sandbox
    return found


@pytest.mark.parametrize(("skew_s", "side"), [(3600, "behind"), (-300, "ahead of")])
def test_a_wrong_clock_is_named_with_how_wrong_it_is(federated: Story, skew_s: int, side: str) -> None:
    weather(federated, clockSkew=skew_s)
    found = broken(federated)
    told = re.match(
        rf"exchange The cluster's clock is (\d+) s {side} Google's; 60 s are allowed\. Next: Synchronize the clocks", found or ""
    )
    assert told, found
    assert abs(int(told[1]) - abs(skew_s)) <= 30  # the Date header has whole seconds, and a busy machine takes some


@pytest.mark.parametrize("api", ["sts", "iamcredentials", "iam", "cloudresourcemanager"])
def test_an_api_that_is_off_is_named_and_the_command_that_is_given_switches_it_on(federated: Story, api: str) -> None:
    weather(federated, disabledApis=[f"{api}.googleapis.com"])
    found = broken(federated)
    assert found
    command = re.search(r"`(gcloud services enable (\S+) --project 415104041262)`", found)
    assert command, found
    assert command[2] == f"{api}.googleapis.com"


def test_an_organization_policy_is_named_with_the_issuer_that_it_refuses(story: Story) -> None:
    assert story.sandbox.cluster
    (issuer, *_) = story.sandbox.cluster.issuers
    weather(story, allowedIssuers=["https://good.example"])
    error = story.run("apply", "--yes").error
    assert error
    assert (
        "The organization policy constraints/iam.workloadIdentityPoolProviders forbids it. Org Policy violated for value: "
        f"'{issuer}'. Ask who keeps the organization's policies for an exception."
    ) in str(error)
    weather(story, allowedIssuers=[issuer])
    story.done("apply", "--yes")


def test_a_bucket_object_that_is_missing_or_tampered_with_is_named_and_apply_mends_it(story: Story) -> None:
    assert story.sandbox.cluster
    bucket = f"{story.name}-oidc"
    url = f"https://storage.googleapis.com/{bucket}"
    story.sandbox.run(story.sandbox.cluster.restart(IssuerChange(issuer=url)))
    story.write(issuer={"url": url, "keys": "bucket", "bucket": {"name": bucket}})
    story.done("apply", "--yes")
    assert broken(story) is None
    for content, told in (
        (
            None,
            f"keys There is nothing at {url}/keys.json (404). Google looks for the issuer's keys there. Next: Publish it: `podpass apply`",
        ),
        (b'{"keys": []}', "keys The JWKS has no key that podpass can use. The list `keys` is empty. Next: Run `podpass apply`."),
        (b"<html>", f"keys What is at {url}/keys.json is not a JSON object of at most 262144 bytes. Next: Run `podpass apply`."),
    ):
        if content is None:
            storage.delete_object(story.google, bucket, "keys.json")
        else:
            storage.put_object(story.google, bucket, "keys.json", StoredObject(content, "", "public, max-age=0"))
        assert (broken(story) or "").startswith(told)
        story.done("apply", "--yes")
        assert broken(story) is None
