# SPDX-License-Identifier: Apache-2.0
"""How the issuer is moved on each distribution: files, commands, gates."""
