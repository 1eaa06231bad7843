# SPDX-License-Identifier: Apache-2.0
"""From a subject token to Google's tokens: the credential configuration file, the exchange itself, and what keeps its tokens fresh.

- `credential_config.py` writes the file that Google's libraries read, byte for byte as gcloud writes it, and reads one strictly.
- `exchanger.py` asks the security token service and IAM Credentials (`endpoints`, `wire`), and tells what they refuse and why (`refusals`).
- `keeper.py` keeps tokens fresh, the client's own too; below it `slot` and `shelf` hold them, `schedule` says when they are renewed, and
  `neighbour` knows who does not answer.
- `workload_tokens.py` hands out the tokens of one workload; `chain` walks from one to the next.
"""
