# SPDX-License-Identifier: Apache-2.0
"""Where Cloud Run and its services are found: regional hosts of the API, and the two URLs of each service."""

import base64
import hashlib
from typing import Final

# The regions of this universe, with the short form that stands in URLs [M]; Google has three times as many.
REGIONS: Final = {
    "asia-east1": "de",
    "asia-northeast1": "an",
    "asia-southeast1": "as",
    "australia-southeast1": "ts",
    "europe-west1": "ew",
    "europe-west2": "nw",
    "europe-west3": "ey",
    "europe-west4": "ez",
    "us-central1": "uc",
    "us-east1": "ue",
    "us-east4": "uk",
    "us-west1": "uw",
}
GLOBAL_HOST: Final = "run.googleapis.com"
API_HOSTS: Final = {f"{region}-{GLOBAL_HOST}": region for region in REGIONS}
SERVED_DOMAIN: Final = ".run.app"
# For a certificate: a wildcard stands for one label only.
SERVED_NAMES: Final = ("*.a.run.app", *(f"*.{region}.run.app" for region in REGIONS))


def hosts_of(name: str, project_number: str, region: str) -> tuple[str, str]:
    """Return the hosts of a service: with the project's number (google-behaviour: run), and the older one with a hash of it."""
    digest = base64.b32encode(hashlib.sha256(project_number.encode()).digest()).decode().lower()[:10]  # ten of a-z and 2-7 [M]
    return f"{name}-{project_number}.{region}.run.app", f"{name}-{digest}-{REGIONS[region]}.a.run.app"
