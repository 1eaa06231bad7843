# SPDX-License-Identifier: Apache-2.0
from podpass.demo.admissions import ACCOUNT_GOOGLE, NOBODY_GOOGLE, ROWS, Admissions
from podpass.demo.answers import Answer


def answered() -> Admissions:
    return Admissions({row: row.wanted for row in ROWS})


def test_each_row_is_another_caller() -> None:
    assert len({(row.invokers, row.identity) for row in ROWS}) == len(ROWS)


def test_table_of_the_wanted_answers_has_no_fault_and_fits_a_terminal() -> None:
    table = answered()
    assert list(table.faults()) == []
    assert max(map(len, table.lines())) <= 80
    assert all(cell["as_wanted"] for cell in table.as_json())
    assert len(table.as_json()) == 2 * len(ROWS)


def test_another_answer_and_none_are_faults() -> None:
    table = answered()
    table.answers[NOBODY_GOOGLE] = {"/": Answer(200)}
    table.answers[ACCOUNT_GOOGLE] = {"/": Answer(200), "/private": Answer(401, "token.expired")}
    assert list(table.faults()) == [
        "GET / as google, invokers nobody: 200 (wanted 403)",
        "GET /private as google, invokers nobody: none (wanted 403)",
        "GET /private as google, invokers gke-gsa: 401 token.expired (wanted 401 token.wrong-issuer)",
    ]
    wrong = [(cell["identity"], cell["path"], cell["answer"]) for cell in table.as_json() if not cell["as_wanted"]]
    assert wrong == [
        ("google", "/", {"status": 200, "code": ""}),
        ("google", "/private", None),
        ("google", "/private", {"status": 401, "code": "token.expired"}),
    ]
