# SPDX-License-Identifier: Apache-2.0
"""The articles' workloads, and the scripts that walk them in a sandbox."""
