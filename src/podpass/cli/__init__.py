# SPDX-License-Identifier: Apache-2.0
"""The command line: one file a command, which reads arguments, calls a room below, prints, and chooses the exit code.

A command's file is imported when the command runs, so `podpass --help` and `podpass token` start fast. Exit codes: 0 done, 1 failed,
2 wrong usage or configuration.
"""

import sys
from collections.abc import Sequence

from podpass.errors import ConfigError

__all__ = ["main"]

_WRONG_USAGE = 2


def main(args: Sequence[str] | None = None) -> None:
    """Run `podpass` and leave the process with its exit code; what the installed extras do not bring is said and no traceback."""
    try:
        from podpass.cli.root import main as run

        run(args)
    except ModuleNotFoundError as error:
        if not error.name or error.name.partition(".")[0] == __name__.partition(".")[0]:
            raise
        lacking = _lacking(error.name.partition(".")[0])
        # By hand: what prints errors may be what is missing.
        sys.stderr.write(f"Error: {lacking.what} [{lacking.full_code}]\n{lacking.why}\nNext: {lacking.next_step}\n")
        sys.exit(_WRONG_USAGE)


def _lacking(package: str) -> ConfigError:
    return ConfigError(
        f"This command needs the package {package}, which is not installed.",
        "podpass was installed without the extra that brings it.",
        "Install it as podpass[all], from where you had it: `pip install 'podpass[all] @ …'`.",
        code="config.extra",
    )
