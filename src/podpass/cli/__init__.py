# SPDX-License-Identifier: Apache-2.0
"""The command line: one file a command, which reads arguments, calls a room below, prints, and chooses the exit code.

A command's file is imported when the command runs, so `podpass --help` and `podpass token` start fast. Exit codes: 0 done, 1 failed,
2 wrong usage or configuration.
"""

from podpass.cli.root import main

__all__ = ["main"]
