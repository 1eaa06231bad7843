# SPDX-License-Identifier: Apache-2.0
"""CEL, Google's expression language: type-checked when it is compiled, bounded when it runs, and failing closed.

One file stands between podpass and the library, Google's own cel-cpp, so that semantics are Google's and the library can be replaced.
"""

from podpass.cel.expression import Environment, Expression, Kind

__all__ = ["Environment", "Expression", "Kind"]
