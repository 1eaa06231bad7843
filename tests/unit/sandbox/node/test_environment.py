# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.sandbox.node.environment import command_line, expand
from podpass.sandbox.node.images import Image, find

VARIABLES = {"A": "1", "B": "$(A)"}


# Kubernetes, third_party/forked/golang/expansion/expand_test.go: the same rules, cases of our own.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("x$(A)y$(A)", "x1y1"),
        ("$(B)", "$(A)"),
        ("$(C)", "$(C)"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$A ${A}", "$A ${A}"),
        ("$(A", "$(A"),
        ("$", "$"),
        ("$$", "$"),
        ("$()", "$()"),
    ],
)
def test_references_expand_as_kubernetes_expands_them(text: str, expected: str) -> None:
    assert expand(text, VARIABLES) == expected


IMAGE = Image("podpass.dev/x", ("run", "$(A)"))


def test_args_follow_the_images_command_which_is_not_expanded() -> None:
    assert command_line({"args": ["$(A)"]}, IMAGE, VARIABLES) == ["run", "$(A)", "1"]


def test_command_takes_the_place_of_the_images() -> None:
    assert command_line({"command": ["go", "$(A)"]}, IMAGE, VARIABLES) == ["go", "1"]


@pytest.mark.parametrize("reference", ["podpass.dev/x", "podpass.dev/x:1.2", "podpass.dev/x@sha256:00", "podpass.dev/x:1@sha256:00"])
def test_image_is_found_with_any_tag(reference: str) -> None:
    assert find({"podpass.dev/x": IMAGE}, reference) is IMAGE


def test_port_of_a_registry_is_no_tag() -> None:
    image = Image("localhost:5000/x", ("y",))
    assert find({"localhost:5000/x": image}, "localhost:5000/x") is image
    assert find({"localhost": image}, "localhost:5000/x") is None
