# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from architecture.doc_blocks import blocks_of
from podpass.config.record import Record
from podpass.config.shape import Form
from podpass.policy.condition import VARIABLES
from podpass.policy.fields import DOCUMENT
from podpass.policy.members import FORMS
from podpass.policy.reading import parse
from podpass.policy.rules import Refusal

DOCS = Path(__file__).parents[3] / "docs"
REFERENCE = (DOCS / "reference/invoker-policy.md").read_text()
POLICIES = [
    pytest.param(block.text, id=f"{path.name}-{number}")
    for path in sorted(DOCS.rglob("*.md"))
    for number, block in enumerate(blocks_of(path))
    if block.language == "yaml" and "kind: InvokerPolicy" in block.text
]


@pytest.mark.parametrize("text", POLICIES)
def test_policies_in_the_documents_are_good(text: str) -> None:
    assert parse(text.encode(), Path("policy.yaml")).rules


def test_there_are_policies_in_the_documents() -> None:
    assert len(POLICIES) >= 2


def keys_of(form: Form[object]) -> set[str]:
    if not isinstance(form, Record):
        return keys_of(form.item) if hasattr(form, "item") else set()
    return {field.key for field in form.fields}.union(*(keys_of(field.form) for field in form.fields))


def test_the_reference_names_every_key_member_variable_and_refusal() -> None:
    keys = keys_of(DOCUMENT.field("spec").form)
    assert "tokenReview" in keys
    assert [key for key in sorted(keys) if f"`{key}`" not in REFERENCE] == []
    assert [form for form in FORMS if f"`{form}`" not in REFERENCE] == []
    assert [
        name for name in VARIABLES if name.removeprefix("identity").removeprefix(".kubernetes").removeprefix(".google") not in REFERENCE
    ] == []
    assert [refusal.value for refusal in Refusal if refusal.value.removeprefix("policy") not in REFERENCE] == []
