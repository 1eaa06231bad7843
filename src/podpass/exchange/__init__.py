# SPDX-License-Identifier: Apache-2.0
"""From a subject token to an access token: the credential configuration file, and the exchange itself.

- `credential_config.py` writes the file that Google's libraries read, byte for byte as gcloud writes it, and reads one strictly.
- `exchanger.py` asks the security token service and IAM Credentials, and tells what they refuse and why.
"""
