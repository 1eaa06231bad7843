# SPDX-License-Identifier: Apache-2.0
"""`python -m podpass.cli`: the command, where the script is not on the path."""

from podpass.cli.root import main

if __name__ == "__main__":
    main()
