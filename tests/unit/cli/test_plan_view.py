# SPDX-License-Identifier: Apache-2.0
import io
import json
import re
from dataclasses import replace

import pytest
from rich.console import Console

from podpass.cli.plan_view import console, show_changes, show_plan, summary
from podpass.cli.wrapping import WIDTH
from podpass.federate.model.change import Action, Change, FieldChange
from podpass.federate.model.plan import Caution, Plan, Subject
from podpass.federate.safety.allowances import Allowances

SUBJECT = Subject("demo", "cluster-a", "demo-project", "415104041262", "https://" + "long-issuer." * 8 + "example", "//x")
KEYS = json.dumps({"keys": [{"kid": "abcdefghijkl"}, {"kid": "mnopqrstuvwx"}]})
GRANT = "grant/" + "workload-" * 9 + ":storage.objectViewer@bucket/other"
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
    Change(GRANT, Action.DELETE, {}),
)
PLAN = Plan(SUBJECT, (), CHANGES, (Caution("no-condition", "Everybody " * 20),))


def shown(plan: Plan, allowances: Allowances | None = None) -> str:
    out = io.StringIO()
    show_plan(plan, Console(file=out, width=WIDTH, highlight=False), allowances=allowances)
    return out.getvalue()


def test_every_line_fits_80_columns_but_for_addresses_and_values_and_has_no_blanks_at_its_end() -> None:
    lines = shown(PLAN).splitlines()
    assert [line.split()[:2] for line in lines if len(line) > WIDTH] == [["issuer", SUBJECT.issuer], ["-", "assertion.sub"], ["-", GRANT]]
    assert not [line for line in lines if line != line.rstrip()]


def test_each_action_has_its_sign_and_says_what_it_wants() -> None:
    text = shown(PLAN)
    for line in (
        "  + pool/p\n",
        "  ~ provider/q\n",
        "  ^ pool/r  undelete, needs --allow-undelete\n",
        "  ^ pool/s  undelete\n",
        "  = bucket/b  exists, needs --adopt\n",
        f"  - {GRANT}  delete, needs --allow-delete\n",
    ):
        assert line in text


def test_what_destroy_takes_away_needs_no_word_more() -> None:
    out = io.StringIO()
    show_changes(CHANGES[-1:], Console(file=out, width=WIDTH, highlight=False))
    assert out.getvalue() == f"  - {GRANT}  delete\n"


def test_what_is_allowed_is_not_asked_for_again() -> None:
    text = shown(PLAN, Allowances(delete=("grant/*",), undelete=("pool/*",), adopt=()))
    assert f"  - {GRANT}  delete\n" in text
    assert "  ^ pool/r  undelete\n" in text
    assert "  = bucket/b  exists, needs --adopt\n" in text
    assert "  = bucket/b  adopt\n" in shown(PLAN, Allowances(adopt=("*",)))


def test_values_are_told_as_people_read_them() -> None:
    text = shown(PLAN)
    assert "oidc.jwksJson: none -> 2 keys (abcdefgh, mnopqrst)" in text
    assert "oidc.jwksJson: 8 characters -> 2 keys" in text
    assert 'attributeMapping: none -> {"google.subject": "assertion.sub"}' in text
    assert re.search(r"content: 3 characters, sha256 [0-9a-f]{8} -> 4 characters, sha256 [0-9a-f]{8}", " ".join(text.split()))
    assert "attributeCondition:\n        - assertion.sub == 'xxx" in text
    assert "\n        + true\n" in text


def test_what_a_terminal_would_obey_is_not_told_as_it_is() -> None:
    """Whoever may write a config map or a provider's condition must not write on the operator's screen."""
    field = FieldChange("attributeCondition", "\x1b[2Jtrue", json.dumps({"keys": [{"kid": "\x1b[2J"}]}))
    change = Change("provider/cluster", Action.UPDATE, {}, fields=(field, replace(field, name="content")))
    plan = Plan(SUBJECT, (), (change,), (Caution("other-pool", "\x1b]0;all is well\x07"),))
    assert not {"\x1b", "\x07"} & set(shown(plan))


def test_a_long_value_is_told_whole_since_it_may_differ_at_its_end() -> None:
    names = [f"'system:serviceaccount:shop:workload-{number}'" for number in range(20)]
    before, after = (f"assertion.sub in [{', '.join(names[:many])}]" for many in (19, 20))
    change = Change("provider/q", Action.UPDATE, {}, fields=(FieldChange("attributeCondition", before, after),))
    assert f"- {before}\n        + {after}\n" in shown(Plan(SUBJECT, (), (change,)))


def test_a_command_in_a_note_stays_in_one_line_however_long() -> None:
    command = f"`gcloud projects remove-iam-policy-binding demo-project --member=principalSet://{'x' * 200} --role=roles/viewer`"
    caution = Caution("undeclared-member", f"Somebody has roles/viewer on project/demo-project. If nobody needs it: {command}.")
    assert f"\n{command}.\n" in shown(Plan(SUBJECT, (), (), (caution,)))


def test_the_summary_counts() -> None:
    assert summary(PLAN) == "To do: create 1, change 1, undelete 2, adopt 1, delete 1."
    assert summary(Plan(SUBJECT, (), ())) == "Nothing to change: Google and the cluster are as the file says."


@pytest.mark.parametrize(("variables", "expected"), [({}, "\x1b[1mplan\x1b[0m\n"), ({"NO_COLOR": "1"}, "plan\n")])
def test_no_colour_is_no_bold_letters_either(
    variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", **variables}.items():  # FORCE_COLOR: as on a terminal
        monkeypatch.setenv(name, value)
    console().print("[bold]plan[/bold]")
    assert capsys.readouterr().out == expected
