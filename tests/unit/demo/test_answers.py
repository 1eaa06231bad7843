# SPDX-License-Identifier: Apache-2.0
from dataclasses import replace

from podpass.demo.answers import EXPIRED, QUESTIONS, Answer, Table


def answered() -> Table:
    table = Table("first", "What the server answered")
    for question in QUESTIONS:
        table.note(question, question.wanted)
    return table


def test_each_question_has_a_name_of_its_own() -> None:
    assert len({question.name for question in QUESTIONS}) == len(QUESTIONS)


def test_table_of_the_wanted_answers_has_no_fault_and_fits_a_terminal() -> None:
    table = answered()
    assert list(table.faults()) == []
    assert max(map(len, table.lines())) <= 80 - len("  ")
    assert all(row["as_wanted"] for row in table.as_json())


def test_another_status_another_code_and_no_answer_are_faults() -> None:
    table = answered()
    table.note(EXPIRED, Answer(200))
    assert list(table.faults()) == ["expired (signing key: first): 200, wanted 401 token.expired"]
    assert "/private expired                          401     200 (wanted 401 token.expired)" in table.lines()
    table.note(EXPIRED, replace(EXPIRED.wanted, code="token.missing"))
    assert list(table.faults()) == ["expired (signing key: first): 401 token.missing, wanted 401 token.expired"]
    del table.answers[EXPIRED.name]
    assert list(table.faults()) == ["expired (signing key: first): no answer, wanted 401 token.expired"]
    (row,) = (row for row in table.as_json() if not row["as_wanted"])
    assert (row["case"], row["answer"], row["wanted"]) == ("expired", None, {"status": 401, "code": "token.expired"})
