# SPDX-License-Identifier: Apache-2.0
"""The federation file (podpass.yaml): YAML in, typed values out, every mistake at once with its line and column.

- `tree.py` reads YAML to nodes that know where they stand; `shape.py` reads a node by a declared form and reports what does not fit;
  `fields.py` declares the file; `rules.py` judges fields against each other; `federation.py` holds what comes out.
- `schema.py` writes the JSON Schema for editors from the same declaration.

Nothing here asks the network, the cluster or the clock. What needs those (is the issuer the cluster's, is the subject too long, is
the condition an expression) is judged at plan.
"""
