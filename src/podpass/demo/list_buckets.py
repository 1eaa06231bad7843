# SPDX-License-Identifier: Apache-2.0
"""The first article's workload: list the project's buckets, with an unmodified google-cloud-storage and nothing of podpass.

Run by the sandbox for the image `podpass.dev/demo/list-buckets`.
"""

import sys

from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage


def main() -> int:
    """Print a line for each bucket; return 1 and print Google's answer if it refuses."""
    try:
        for bucket in storage.Client().list_buckets():
            print(bucket.name, flush=True)
    except (GoogleAuthError, GoogleAPIError) as error:
        # google-auth keeps Google's own answer in the second argument.
        print(f"{type(error).__name__}: {' '.join(' '.join(map(str, error.args)).split())}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
