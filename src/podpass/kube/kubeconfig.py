# SPDX-License-Identifier: Apache-2.0
"""Which cluster, with whose credentials: found as kubectl finds it.

1. The file that is named; else every file of KUBECONFIG, merged (who comes first wins); else ~/.kube/config (`kubeconfig_files.py`).
2. In a pod without any of these, the pod's own service account.

lightkube gives the values their types, opens certificates and signs requests; what it does not read (KUBECONFIG as a list, `proxy-url`,
`tls-server-name`, plugins of `client.authentication.k8s.io/v1`) is done here and in `exec_credential.py`.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
from lightkube.config.kubeconfig import KubeConfig, SingleConfig
from lightkube.core.exceptions import ConfigError as LightkubeError

from podpass.errors import ConfigError
from podpass.kube import kubeconfig_files
from podpass.kube.kubeconfig_files import MEMBERS, broken, entries
from podpass.net.direct import LOOPBACK

IN_CLUSTER_FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class ClusterAccess:
    """One context of a kubeconfig, ready to connect.

    Attributes:
        context: Its name.
        server: The API server's URL.
        namespace: The context's namespace.
        config: lightkube's values; holds secrets, so it is in no repr.
        proxy_url: The proxy that the kubeconfig names for this cluster.
        tls_server_name: The name that the server's certificate is checked for, where it is not the URL's.
        exec_plugin: The credential plugin's settings.
    """

    context: str
    server: str
    namespace: str
    config: SingleConfig = field(repr=False)
    proxy_url: str | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    exec_plugin: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def checks_certificates(self) -> bool:
        """Whether somebody else's server is found out, wherever it is."""
        return not self.config.cluster.insecure

    def at(self, server: str) -> "ClusterAccess":
        """Return the way to one API server of this cluster, past what stands before them; its certificate is for the name known here.

        Raises:
            ConfigError: Certificates are not checked, so whoever says where the server is could have the credential sent to himself.
        """
        if server == self.server:
            return self
        if not self.checks_certificates:
            raise ConfigError(
                f"No credential of the context {self.context!r} is sent to {server}.",
                "The cluster says that an API server is there; the kubeconfig has insecure-skip-tls-verify, so anybody could be. You have "
                f"named {self.server} only.",
                "Write certificate-authority into the kubeconfig in place of insecure-skip-tls-verify; and tls-server-name where the "
                "certificate has another name.",
                code="config.kubeconfig-insecure",
            )
        return replace(self, server=server, tls_server_name=self.tls_server_name or urlsplit(self.server).hostname)


def load(
    path: Path | None = None,
    context: str | None = None,
    *,
    environment: Mapping[str, str] | None = None,
    in_cluster: Path = IN_CLUSTER_FOLDER,
) -> ClusterAccess:
    """Find the cluster.

    Args:
        path: The kubeconfig; None: kubectl's rules.
        context: The context's name; None: the kubeconfig's current one.
        environment: For KUBECONFIG and HOME; None: the process's.
        in_cluster: Where a pod's own service account is.

    Raises:
        ConfigError: No kubeconfig, none such, not readable; no such context; a context that names a missing cluster or user.
    """
    environment = os.environ if environment is None else environment
    files = kubeconfig_files.find(path, environment)
    if files:
        return from_dict(kubeconfig_files.merged(files), context=context, source=", ".join(str(file) for file in files))
    if context is None and (in_cluster / "token").is_file() and "KUBERNETES_SERVICE_HOST" in environment:
        return _in_cluster(in_cluster, environment)
    raise ConfigError(
        "There is no kubeconfig.",
        "KUBECONFIG is not set, ~/.kube/config does not exist, and this is not a pod.",
        "Set KUBECONFIG, or name a file in the spec.cluster.kubeconfig of a federation file.",
        code="config.kubeconfig-none",
    )


def from_dict(content: Mapping[str, Any], *, context: str | None = None, source: str = "the kubeconfig") -> ClusterAccess:
    """Take a kubeconfig that is in memory already; the paths in it must be absolute."""
    name = context or content.get("current-context")
    contexts, clusters, users = (_by_name(content, kind, source) for kind in ("contexts", "clusters", "users"))
    if not name:
        raise _context_error(f"{source} has no current context.", contexts)
    if name not in contexts:
        raise _context_error(f"{source} has no context {name!r}.", contexts, name)
    cluster = _member(clusters, contexts[name].get("cluster"), "cluster", name, source)
    user_name = contexts[name].get("user")
    user = _member(users, user_name, "user", name, source) if user_name else {}
    _refuse_unsupported(user, name)
    config = _typed(name, contexts[name], cluster, {key: value for key, value in user.items() if key != "exec"}, source)
    return ClusterAccess(
        context=name,
        server=config.cluster.server,
        namespace=config.namespace,
        config=config,
        proxy_url=cluster.get("proxy-url"),
        tls_server_name=cluster.get("tls-server-name"),
        exec_plugin=user.get("exec"),
    )


def _by_name(content: Mapping[str, Any], kind: str, source: str) -> dict[str, dict[str, Any]]:
    return {item["name"]: item.get(MEMBERS[kind]) or {} for item in entries(content, kind, source)}


def _member(members: Mapping[str, dict[str, Any]], name: object, kind: str, context: str, source: str) -> dict[str, Any]:
    if not isinstance(name, str) or name not in members:
        raise broken(source, f"Its context {context!r} names the {kind} {name!r}, which is not in it.")
    return members[name]


def _typed(name: str, context: dict[str, Any], cluster: dict[str, Any], user: dict[str, Any], source: str) -> SingleConfig:
    content = {
        "current-context": name,
        "contexts": [{"name": name, "context": {**context, "cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
    }
    try:
        config = KubeConfig.from_dict(content).get(name)
    except (msgspec.ValidationError, LightkubeError, KeyError, TypeError):
        # Their words may quote the values.
        raise broken(source, f"A value of its context {name!r} has the wrong type.") from None
    assert isinstance(config, SingleConfig)
    _check_server(name, config.cluster.server, source, is_proxied=bool(cluster.get("proxy-url")))
    return config


def _check_server(context: str, server: str, source: str, *, is_proxied: bool) -> None:
    """Refuse a server on the way to which others would see the operator's credential."""
    if not server.startswith(("https://", "http://")):
        raise broken(source, f"The server of its context {context!r} is {server!r}, which is no URL.")
    if not _is_private(server):
        raise ConfigError(
            f"The server of the context {context!r} is {server!r}, which is not https.",
            "The operator's credential, and the tokens that the cluster issues, would be seen by everybody on the way.",
            "Write https into the kubeconfig; plain http is for this machine only, as with `kubectl proxy`.",
            code="config.kubeconfig",
        )
    if server.startswith("http://") and is_proxied:
        raise ConfigError(
            f"The server of the context {context!r} is {server!r}, and requests there go through a proxy.",
            "It is not https, so the proxy would see the operator's credential, and the tokens that the cluster issues.",
            "Write https into the kubeconfig, or remove proxy-url from it.",
            code="config.kubeconfig",
        )


def _is_private(server: str) -> bool:
    try:
        parts = urlsplit(server)
    except ValueError:
        return False
    return parts.scheme == "https" or parts.hostname in LOOPBACK


def _in_cluster(folder: Path, environment: Mapping[str, str]) -> ClusterAccess:
    host = environment["KUBERNETES_SERVICE_HOST"]
    address = f"[{host}]" if ":" in host else host
    content = {
        "current-context": "in-cluster",
        "contexts": [{"name": "in-cluster", "context": {"cluster": "in-cluster", "user": "in-cluster", "namespace": _namespace(folder)}}],
        "clusters": [
            {
                "name": "in-cluster",
                "cluster": {
                    "server": f"https://{address}:{environment.get('KUBERNETES_SERVICE_PORT', '443')}",
                    "certificate-authority": str(folder / "ca.crt"),
                },
            }
        ],
        "users": [{"name": "in-cluster", "user": {"tokenFile": str(folder / "token")}}],
    }
    return from_dict(content, source="the pod's service account")


def _namespace(folder: Path) -> str:
    file = folder / "namespace"
    return file.read_text().strip() if file.is_file() else "default"


def _refuse_unsupported(user: Mapping[str, Any], context: str) -> None:
    if "auth-provider" in user:
        raise ConfigError(
            f"The context {context!r} logs in with an auth-provider, which Kubernetes has removed.",
            "",
            "Fetch the kubeconfig anew with your cloud's tool: it will name a credential plugin (exec).",
            code="config.kubeconfig",
        )
    if any(key in user for key in ("as", "as-uid", "as-groups", "as-user-extra")):
        raise ConfigError(
            f"The context {context!r} impersonates another user.",
            "podpass would act as somebody else than the kubeconfig says, since it does not impersonate.",
            "Name a context without `as`.",
            code="config.kubeconfig",
        )


def _context_error(what: str, contexts: Mapping[str, object], wanted: str = "") -> ConfigError:
    close = difflib.get_close_matches(wanted, contexts, n=1)
    known = f"It has: {', '.join(sorted(contexts))}." if contexts else "It has none at all."
    name_one = (
        "Name one in a federation file's spec.cluster.context, by --context where no file is asked for, or by `kubectl config use-context`."
    )
    hint = f"Did you mean {close[0]!r}?" if close else name_one
    return ConfigError(what, known, hint, code="config.context")
