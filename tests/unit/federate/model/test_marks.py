# SPDX-License-Identifier: Apache-2.0
from podpass.federate.model.marks import Mark

MARK = Mark("workload-identity-demo", "5f0c2d1e-0000-4000-8000-000000000001")


def test_a_mark_is_found_again_wherever_it_was_written() -> None:
    assert Mark.in_description(f"Written by hand. {MARK.description}") == MARK
    assert Mark.in_annotations({"other": "x", **MARK.annotations}) == MARK
    assert MARK.signed(Mark.in_labels(MARK.labels))


def test_nothing_is_not_a_mark() -> None:
    assert Mark.in_description(None) is None
    assert Mark.in_description("Workload Identity demo") is None
    assert Mark.in_labels(None) is None
    assert Mark.in_annotations({"podpass.dev/federation": "demo"}) is None
    assert Mark.in_annotations({"podpass.dev/federation": "demo\x1b[2J", "podpass.dev/cluster": "c"}) is None
    assert not MARK.signed(None)


def test_another_cluster_or_federation_is_another_mark() -> None:
    assert not MARK.signed(Mark(MARK.federation, "other"))
    assert not MARK.signed(Mark("other", MARK.cluster))


def test_a_mark_fits_where_google_puts_it() -> None:
    longest = Mark("f" * 63, MARK.cluster)
    assert len(longest.description) <= 256
    assert all(len(value) <= 63 and value == value.lower() and "." not in value for value in MARK.labels.values())
