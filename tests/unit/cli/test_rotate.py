# SPDX-License-Identifier: Apache-2.0
"""What is said to one who asks `podpass rotate` for two things at once."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from podpass.cli.root import podpass


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (("--key", "--issuer"), "the key first: the issuer to come then publishes the new key alone"),
        (("--key", "--issuer"), "Type `podpass rotate --key`, with the present issuer in the file."),
        (("--key", "--issuer", "--resume"), "say --key or --issuer. `podpass plan` tells which of them is under way."),
        (("--key", "--issuer", "--abort"), "say --key or --issuer. `podpass plan` tells which of them is under way."),
        ((), "Say what to rotate: --key or --issuer."),
        (("--key", "--resume", "--abort"), "--resume goes on, --abort goes back: choose one."),
        (("--key", "--with-refusals"), "--with-refusals is for --issuer."),
    ],
)
def test_one_thing_is_rotated_at_a_time_in_one_direction(options: tuple[str, ...], answer: str, tmp_path: Path) -> None:
    file = tmp_path / "podpass.yaml"
    file.touch()
    result = CliRunner().invoke(podpass, ["rotate", "-f", str(file), *options])
    assert result.exit_code == 2
    assert answer in " ".join(result.output.split())
