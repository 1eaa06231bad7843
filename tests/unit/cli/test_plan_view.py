# SPDX-License-Identifier: Apache-2.0
import io
import json
import re

from rich.console import Console

from podpass.cli.plan_view import show_plan, summary
from podpass.cli.wrapping import WIDTH
from podpass.federate.change import Action, Change, FieldChange
from podpass.federate.plan import Caution, Plan, Subject

SUBJECT = Subject("demo", "cluster-a", "demo-project", "415104041262", "https://" + "long-issuer." * 8 + "example", "//x")
KEYS = json.dumps({"keys": [{"kid": "abcdefghijkl"}, {"kid": "mnopqrstuvwx"}]})
CHANGES = (
    Change("pool/p", Action.CREATE, {}),
    Change(
        "provider/q",
        Action.UPDATE,
        {},
        fields=(
            FieldChange("oidc.jwksJson", None, KEYS),
            FieldChange("attributeCondition", "assertion.sub == '" + "x" * 200 + "'", "true"),
            FieldChange("attributeMapping", {}, {"google.subject": "assertion.sub"}),
            FieldChange("oidc.jwksJson", "not json", KEYS),
            FieldChange("content", "abc", "abcd"),
        ),
    ),
    Change("pool/r", Action.UNDELETE, {}),
    Change("pool/s", Action.UNDELETE, {}, known=True),
    Change("bucket/b", Action.ADOPT, {}),
    Change("grant/" + "workload-" * 9 + ":storage.objectViewer@bucket/other", Action.DELETE, {}),
)
PLAN = Plan(SUBJECT, (), CHANGES, (Caution("no-condition", "Everybody " * 20),))


def shown(plan: Plan) -> str:
    out = io.StringIO()
    show_plan(plan, Console(file=out, width=WIDTH, highlight=False))
    return out.getvalue()


def test_every_line_fits_80_columns_but_for_an_address_and_has_no_blanks_at_its_end() -> None:
    lines = shown(PLAN).splitlines()
    assert [line.split()[0] for line in lines if len(line) > WIDTH] == ["issuer", "-"]
    assert not [line for line in lines if line != line.rstrip()]


def test_each_action_has_its_sign_and_says_what_it_wants() -> None:
    text = shown(PLAN)
    for line in (
        "  + pool/p\n",
        "  ~ provider/q\n",
        "  ^ pool/r  undelete, needs --allow-undelete\n",
        "  ^ pool/s  undelete\n",
        "  = bucket/b  exists, needs --adopt\n",
        "  - grant/workload-",
    ):
        assert line in text


def test_values_are_told_as_people_read_them() -> None:
    text = shown(PLAN)
    assert "oidc.jwksJson: none -> 2 keys (abcdefgh, mnopqrst)" in text
    assert "oidc.jwksJson: 8 characters -> 2 keys" in text
    assert 'attributeMapping: none -> {"google.subject": "assertion.sub"}' in text
    assert re.search(r"content: 3 characters, sha256 [0-9a-f]{8} -> 4 characters, sha256 [0-9a-f]{8}", " ".join(text.split()))
    assert "attributeCondition:\n        - assertion.sub == 'xxx" in text
    assert "\n        + true\n" in text
    assert "…" in text


def test_the_summary_counts() -> None:
    assert summary(PLAN) == "To do: create 1, change 1, undelete 2, adopt 1, delete 1."
    assert summary(Plan(SUBJECT, (), ())) == "Nothing to change: Google and the cluster are as the file says."
