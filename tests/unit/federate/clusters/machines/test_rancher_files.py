# SPDX-License-Identifier: Apache-2.0
"""What the files of k3s and RKE2 come to, by their own description, and the one file that brings what is wanted."""

from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import pytest

from cross.shell_cluster import rancher_flags
from podpass.errors import UnexpectedAnswerError, UnsafePlanError
from podpass.federate.clusters.flags import ServiceAccountFlags, parse_arguments
from podpass.federate.clusters.machines.rancher_files import OURS, Files, with_flags
from podpass.federate.clusters.move import Move

DEFAULT, NEW = "https://kubernetes.default.svc.cluster.local", "https://storage.googleapis.com/demo-oidc"
BEFORE = ServiceAccountFlags((DEFAULT,), (DEFAULT, "k3s"))
CUSTOM = "https://old.example"
# What an operator may have, and what that comes to.
KEPT: Mapping[str, Mapping[str, str]] = {
    "nothing": {},
    "others": {
        "config.yaml": "token: x\nkube-apiserver-arg: [profiling=false]\ntls-san: a\n",
        "config.yaml.d/99-z.yaml": "kube-apiserver-arg+: v=2\n",
    },
    "one-word": {"config.yaml": "kube-apiserver-arg: profiling=false\n"},
    "its-own-behind": {"config.yaml": f"kube-apiserver-arg: [service-account-issuer+={CUSTOM}]\n"},
    "audience": {"config.yaml.d/10-a.yaml": "kube-apiserver-arg+: [api-audiences+=vault]\n"},
}


def files(contents: Mapping[str, str], program: str = "k3s") -> Files:
    return Files(program, contents)


def outside(found: Files, folder: Path) -> ServiceAccountFlags:
    """Return what the description makes of the files, written once more by somebody who read it."""
    for path, content in {"config.yaml": "", **found.contents}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return ServiceAccountFlags.of(parse_arguments(rancher_flags(folder, found.program)))


@pytest.mark.parametrize("name", KEPT)
def test_each_stage_is_brought_by_one_file_and_taken_back(name: str, tmp_path: Path) -> None:
    current = files(KEPT[name])
    before = current.flags("cp-1")
    move = Move(before, NEW)
    for stage in move.left(several=True)[:2]:
        current = current.with_ours(with_flags(current, stage.flags, "cp-1"))
        found = outside(current, tmp_path / stage.name)
        assert (found.issuers, set(found.accepted_audiences)) == (stage.flags.issuers, set(stage.flags.accepted_audiences))
        assert current.flags("cp-1").issuers == found.issuers
    assert with_flags(current, before, "cp-1") == ""


def test_the_file_is_that_of_the_rendering() -> None:
    accept, switch, drop = Move(BEFORE, NEW).left(several=True)
    written = [with_flags(files({}), stage.flags, "cp-1") for stage in (accept, switch, drop)]
    assert written == [
        f"kube-apiserver-arg+:\n- service-account-issuer+={NEW}\n- api-audiences+={NEW}\n",
        f"kube-apiserver-arg+:\n- service-account-issuer-={NEW}\n- api-audiences+={NEW}\n",
        f"kube-apiserver-arg+:\n- service-account-issuer={NEW}\n- api-audiences=k3s,{NEW}\n",
    ]


@pytest.mark.parametrize("program", ["k3s", "rke2"])
@pytest.mark.parametrize("order", list(permutations(["=", "+=", "-="], 2)))
def test_arguments_are_laid_as_described(program: str, order: tuple[str, str], tmp_path: Path) -> None:
    arguments = [f"service-account-issuer{sign}https://{number}.example" for number, sign in enumerate(order)]
    found = files({"config.yaml": f"cluster-domain: cluster.local\nkube-apiserver-arg: {arguments}\n"}, program)
    told, wanted = found.flags("cp-1"), outside(found, tmp_path)
    assert (told.issuers, told.api_audiences) == (wanted.issuers, wanted.api_audiences)


def test_the_domain_of_the_cluster_is_in_the_default() -> None:
    assert files({"config.yaml": "cluster-domain: demo.local\n"}).flags("cp-1").issuers == ("https://kubernetes.default.svc.demo.local",)


@pytest.mark.parametrize(
    "contents",
    [
        {"config.yaml": f"kube-apiserver-arg: [service-account-issuer={CUSTOM}]\n"},  # stays whatever is laid around it
        {"config.yaml.d/99-z.yaml": "kube-apiserver-arg: [profiling=false]\n"},  # takes the place of everything before it
        {"config.yaml": "kube-apiserver-arg: [api-audiences=//iam.googleapis.com/x]\n"},
    ],
)
def test_files_that_stand_against_it_are_named_and_nothing_is_written(contents: Mapping[str, str]) -> None:
    with pytest.raises(UnsafePlanError, match="its own configuration stands against it"):
        with_flags(files(contents), ServiceAccountFlags((NEW,), (NEW, "k3s")), "cp-1")


@pytest.mark.parametrize("content", ["a: [", "- a\n", "word", "a: \x1b]0;x\n"])
def test_a_file_that_is_none_is_named_without_what_a_terminal_obeys(content: str) -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"config\.yaml\.d/1.* of cp-1 is no") as refusal:
        files({"config.yaml.d/1\x1b.yaml": content}).flags("cp-1")
    assert "\x1b" not in str(refusal.value)


def test_an_argument_that_is_none_is_passed_over_and_an_empty_file_is_no_mistake() -> None:
    found = files({"config.yaml": "kube-apiserver-arg: ['=x', {a: b}, 7, ' a']\n", OURS: ""})
    assert found.flags("cp-1") == BEFORE
