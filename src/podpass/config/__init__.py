# SPDX-License-Identifier: Apache-2.0
"""Files that people write: YAML in, typed values out, every mistake at once with its line and column.

- `tree.py` reads YAML to nodes that know where they stand; `shape.py` reads a node by a declared form and reports what does not fit, and so
  does `record.py` for a mapping with known keys; `spelling.py` guesses what an unknown word was meant to be; `document.py` reads a document
  by what its head says it is; `mistakes.py` collects and prints. `podpass.policy` reads by these, too.
- The federation file (podpass.yaml): `fields.py` declares it, `texts.py` reads its words, `cross_checks.py` judges fields against each
  other, `federation.py` holds what comes out; `reading.py` calls them. `schema.py` writes the JSON Schema for editors from the same fields.

Nothing here asks the network, the cluster or the clock. What needs those (is the issuer the cluster's, is the subject too long, is
the condition an expression) is judged at plan.
"""
