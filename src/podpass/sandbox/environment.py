# SPDX-License-Identifier: Apache-2.0
"""The environment of a process inside the sandbox: for somebody who is logged in to it, or for a pod.

Unmodified clients take everything from here (google-behaviour: clients): the way through the proxy, the authority to trust, and credentials
in the form that each of them reads.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from podpass.sandbox.ca import write_private
from podpass.sandbox.google.oauth import GCLOUD_CLIENT
from podpass.sandbox.settings import SandboxSettings

# gcloud's own OAuth client, as in the file of whoever has logged in with it; its secret, which everybody knows who has the program, is not.
_CLIENT = {"client_id": GCLOUD_CLIENT, "client_secret": "not-a-secret"}

# gcloud without questions, reports, and searches for a metadata server (google-behaviour: clients).
_QUIET = {
    "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
    "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true",
    "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "1",
    "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
    "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
}


def hosts_of(kubeconfig: Path | None) -> list[str]:
    """Name the hosts of the clusters in a kubeconfig: the one place outside that a sandbox beside a real cluster may be left for."""
    if kubeconfig is None:
        return []
    clusters = (yaml.safe_load(kubeconfig.read_text()) or {}).get("clusters") or []
    return sorted({urlsplit(each["cluster"]["server"]).hostname or "" for each in clusters})


def inside(proxy_url: str, authority: Path, outside: Iterable[str] = ()) -> dict[str, str]:
    """Return what any process needs so that its requests stay in the sandbox: the proxy and the authority, each in all its spellings.

    Args:
        proxy_url: The proxy.
        authority: The certificate to trust.
        outside: Hosts that are reached directly none the less.
    """
    direct = ",".join(("127.0.0.1", "localhost", *outside))
    return {
        **{name: proxy_url for base in ("HTTPS_PROXY", "HTTP_PROXY") for name in (base, base.lower())},
        **dict.fromkeys(("NO_PROXY", "no_proxy"), direct),
        # OpenSSL and Go; requests; curl; Node; httplib2; gRPC
        **{
            name: str(authority)
            for name in (
                "SSL_CERT_FILE",
                "REQUESTS_CA_BUNDLE",
                "CURL_CA_BUNDLE",
                "NODE_EXTRA_CA_CERTS",
                "HTTPLIB2_CA_CERTS",
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
            )
        },
        "NO_GCE_CHECK": "true",  # the machine's own metadata server, if it has one, is not the sandbox's
    }


def logged_in(
    directory: Path, settings: SandboxSettings, authority: Path, refresh_token: str, kubeconfig: Mapping[str, object] | None
) -> dict[str, str]:
    """Write the files of a logged-in user and return the variables that name them.

    Args:
        directory: Where the files go.
        settings: Of the sandbox.
        authority: The certificate to trust.
        refresh_token: The operator's.
        kubeconfig: The cluster administrator's way in; None: there is no cluster, or it is the user's own.
    """
    operator = {"type": "authorized_user", **_CLIENT, "refresh_token": refresh_token, "universe_domain": "googleapis.com"}
    credentials = directory / "operator.json"
    write_private(credentials, json.dumps(operator, indent=2).encode())
    boto = directory / "boto"
    write_private(boto, _boto(authority, refresh_token, settings.project_id).encode())
    gcloud = directory / "gcloud"
    gcloud.mkdir(exist_ok=True)
    variables = {
        **_QUIET,
        "PODPASS_SANDBOX": str(settings.state_dir or directory),  # for prompts and scripts: where they are
        "CLOUDSDK_CONFIG": str(gcloud),
        "CLOUDSDK_CORE_PROJECT": settings.project_id,
        "CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE": str(authority),
        "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(credentials),
        "GOOGLE_APPLICATION_CREDENTIALS": str(credentials),
        "GOOGLE_CLOUD_PROJECT": settings.project_id,
        "BOTO_CONFIG": str(boto),
        "KUBECACHEDIR": str(directory / "kube-cache"),
    }
    return variables | _to_the_cluster(directory, settings, kubeconfig)


def _to_the_cluster(directory: Path, settings: SandboxSettings, kubeconfig: Mapping[str, object] | None) -> dict[str, str]:
    """Return the variable that names the cluster, if there is one; a kubeconfig of the sandbox's own is written."""
    if settings.kubeconfig:
        return {"KUBECONFIG": str(settings.kubeconfig.absolute())}
    if kubeconfig is None:
        return {}
    path = directory / "kubeconfig"
    write_private(path, json.dumps(kubeconfig, indent=2).encode())  # JSON is YAML
    return {"KUBECONFIG": str(path)}


def _boto(authority: Path, refresh_token: str, project: str) -> str:
    """Return the configuration of native gsutil, which reads none of gcloud's override variables (google-behaviour: clients)."""
    return f"""[Credentials]
gs_oauth2_refresh_token = {refresh_token}
[OAuth2]
client_id = {_CLIENT["client_id"]}
client_secret = {_CLIENT["client_secret"]}
[Boto]
ca_certificates_file = {authority}
https_validate_certificates = True
[GSUtil]
default_project_id = {project}
check_hashes = if_fast_else_skip
software_update_check_period = 0
"""
