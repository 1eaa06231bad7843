# SPDX-License-Identifier: Apache-2.0
"""From a file's bytes to a `Federation`, or to every mistake in it."""

from pathlib import Path

from podpass.config import tree
from podpass.config.cross_checks import check_spec, google_account
from podpass.config.document import new_report, read_file
from podpass.config.drafts import ClusterDraft, WorkloadDraft
from podpass.config.federation import (
    KIND,
    ClusterSettings,
    Federation,
    GoogleSettings,
    NodeSettings,
    Selection,
    Source,
    TalosSettings,
    Workload,
)
from podpass.config.fields import DOCUMENT
from podpass.config.mistakes import FederationFileError
from podpass.errors import ConfigError
from podpass.names import ServiceAccountRef


def load(path: Path) -> Federation:
    """Read a federation file.

    Paths inside it are relative to it. Nothing but this one file is opened.

    Raises:
        FederationFileError: Anything in it is wrong; holds every mistake.
        ConfigError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(tree.LIMIT_BYTES + 1)
    except OSError as error:
        cure = "Run `podpass init` to write one, or name it with -f."
        if not isinstance(error, FileNotFoundError):
            cure = "Name the file in it with -f." if isinstance(error, IsADirectoryError) else "Name one with -f that you may read."
        raise ConfigError(f"{path} cannot be read.", f"{error.strerror or error}.", cure, code="config.unreadable") from error
    return parse(raw, path)


def parse(raw: bytes, path: Path) -> Federation:
    """Read a federation file's bytes; `path` is what messages call it, and what paths inside it are relative to.

    Raises:
        FederationFileError: Anything in it is wrong; holds every mistake.
    """
    report = new_report(DOCUMENT)
    read = read_file(raw, DOCUMENT, KIND, report, check=check_spec, empty="Run `podpass init` to write one.")
    if read is None:
        raise FederationFileError(path, report.mistakes)
    name, spec = read
    google = spec.google
    assert google is not None  # it is required
    return Federation(
        name=name,
        google=google,
        cluster=_cluster(spec.cluster, path.absolute().parent),
        issuer=spec.issuer,
        workloads=tuple(_workload(one, google) for one in spec.workloads if one.selector is None),
        selections=tuple(Selection(one.selector, _workload(one, google), one.path) for one in spec.workloads if one.selector),
        source=Source(path, report.positions),
    )


def _cluster(draft: ClusterDraft, folder: Path) -> ClusterSettings:
    return ClusterSettings(
        kubeconfig=_absolute(draft.kubeconfig, folder) if draft.kubeconfig else None,
        context=draft.context,
        distribution=draft.distribution,
        talos=TalosSettings(_absolute(draft.talosconfig, folder)) if draft.talosconfig else None,
        nodes=NodeSettings(draft.node_command) if draft.node_command else None,
    )


def _absolute(text: str, folder: Path) -> Path:
    return folder / Path(text).expanduser()


def _workload(draft: WorkloadDraft, google: GoogleSettings) -> Workload:
    # Of a namespace its account `default` stands for all, of a selector for none.
    account = draft.service_account or ServiceAccountRef(draft.namespace or "default", "default")
    return Workload(
        service_account=account,
        google_service_account=google_account(draft, google),
        account_is_existing="@" in (draft.google_service_account or ""),
        member=draft.member,
        roles=draft.roles,
        grants=draft.grants,
        token=draft.token,
        credentials=draft.credentials,
        is_namespace=draft.namespace is not None,
        path=draft.path,
    )
