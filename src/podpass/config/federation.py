# SPDX-License-Identifier: Apache-2.0
"""What a federation file says, as frozen values; `reading.load` makes them of a file.

Defaults are filled in, except where the default depends on the cluster or on Google: those are None, and say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final, Literal

from podpass.config.mistakes import parent
from podpass.names import GoogleServiceAccount, Issuer, ServiceAccountRef
from podpass.names.labels import LabelSelector

KIND: Final = "Federation"

Distribution = Literal[
    "auto", "talos", "kubeadm", "k3s", "rke2", "k0s", "minikube", "microk8s", "kind", "kops", "cluster-api", "eks", "aks", "gke", "other"
]
Keys = Literal["inline", "bucket", "discovery"]

DEFAULT_MAPPING: Final[Mapping[str, str]] = {"google.subject": "assertion.sub"}
DEFAULT_TOKEN_EXPIRATION: Final = timedelta(hours=1)
# A wrong label is seldom on so many; a policy of Google's has room for 1,500 principals.
DEFAULT_AT_MOST: Final = 100
DEFAULT_NAMESPACE_MEMBER: Final = "attribute.namespace"
DEFAULT_CREDENTIALS_KEY: Final = "config"
DEFAULT_TOKEN_PATH: Final = "/var/run/secrets/tokens/gcp-ksa/token"  # noqa: S105 - a path


class Generated(Enum):
    """Stands for the attribute condition that podpass writes from the workloads."""

    GENERATED = "generated"


GENERATED: Final = Generated.GENERATED


@dataclass(frozen=True, slots=True)
class TalosSettings:
    """How to reach a Talos cluster's machines."""

    talosconfig: Path


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How to reach the machines of a control plane that have a shell.

    Attributes:
        command: Words that run a script of their standard input as root on a node; `{node}` stands for its name, `{address}` for its
            address.
    """

    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Which cluster, and how to reach it.

    Attributes:
        kubeconfig: Absolute path; None means Kubernetes' own rules (KUBECONFIG, ~/.kube/config, in-cluster).
        context: None means the kubeconfig's current context.
        distribution: `auto` means found out from the cluster.
        talos: None unless the file has it.
        nodes: None unless the file has it.
    """

    kubeconfig: Path | None = None
    context: str | None = None
    distribution: Distribution = "auto"
    talos: TalosSettings | None = None
    nodes: NodeSettings | None = None


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """The bucket that publishes the issuer's documents.

    Attributes:
        name: Its globally unique name.
        location: None means Google's default (US).
    """

    name: str
    location: str | None = None

    @property
    def url(self) -> str:
        """The issuer that this bucket publishes for: `https://storage.googleapis.com/NAME`."""
        return f"https://storage.googleapis.com/{self.name}"


@dataclass(frozen=True, slots=True)
class IssuerSettings:
    """Whose tokens Google shall trust, and where it finds the keys.

    Attributes:
        url: `keep` is the cluster's own issuer, whatever it is; else the issuer that the cluster has or is to move to.
        keys: None means: by the cluster (`discovery` where the issuer is public and its keys are the provider's to rotate, else `inline`).
        bucket: Present exactly when `keys` is `bucket`; `url` is then the bucket's.
    """

    url: Literal["keep"] | Issuer = "keep"
    keys: Keys | None = None
    bucket: BucketSettings | None = None


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The workload identity pool; `existing`: somebody else keeps it, and podpass never changes it."""

    id: str
    display_name: str | None = None
    existing: bool = False


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """The pool's provider.

    Attributes:
        id: Its id.
        display_name: For the console.
        existing: As of the pool.
        former_ids: Ids of earlier providers of the pool: tokens whose audience is one of theirs are taken, too.
    """

    id: str
    display_name: str | None = None
    existing: bool = False
    former_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GoogleSettings:
    """Google's side.

    Attributes:
        project: The project's id (not its number); pool and accounts live there.
        pool: The pool.
        provider: Its provider.
        attribute_mapping: Google attribute to CEL expression; always holds `google.subject`.
        attribute_condition: `GENERATED`, an expression, or None for no condition at all.
    """

    project: str
    pool: PoolSettings
    provider: ProviderSettings
    attribute_mapping: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_MAPPING))
    attribute_condition: Generated | str | None = GENERATED


@dataclass(frozen=True, slots=True)
class GrantCondition:
    """A condition of an IAM binding, as Google has it."""

    title: str
    expression: str
    description: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return it as the member `condition` of a binding."""
        texts = {"title": self.title, "description": self.description, "expression": self.expression}
        return {name: text for name, text in texts.items() if text is not None}


@dataclass(frozen=True, slots=True)
class Grant:
    """A role on one resource: exactly one of `bucket` and `project` is there."""

    role: str
    bucket: str | None = None
    project: str | None = None
    condition: GrantCondition | None = None


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """The projected subject token; 10 minutes to 24 hours."""

    expiration: timedelta = DEFAULT_TOKEN_EXPIRATION


@dataclass(frozen=True, slots=True)
class CredentialsSettings:
    """The config map with the credential configuration, in the workload's namespace.

    Attributes:
        config_map: Its name; no two workloads of one namespace share one.
        key: The key that holds the file.
        token_path: Where the container finds the subject token; goes into the file.
    """

    config_map: str
    key: str = DEFAULT_CREDENTIALS_KEY
    token_path: str = DEFAULT_TOKEN_PATH


@dataclass(frozen=True, slots=True)
class Workload:
    """One Kubernetes service account, or all of one namespace, and what it may do.

    Attributes:
        service_account: The Kubernetes account; no two workloads have the same. For a whole namespace its account `default`, which every
            namespace has and whose claims stand for all.
        google_service_account: The account it impersonates; None is direct access: roles then go to its own principal.
        account_is_existing: The file names the account by its full email: podpass binds to it and never makes or deletes it.
        member: `subject` (one principal), or an `attribute.NAME` of the mapping (a principal set).
        roles: On `google.project`; may be empty, as may `grants`: others may grant.
        grants: On other resources, or with a condition.
        token: The projected token.
        credentials: None: no config map is written.
        is_namespace: Every account of the namespace is meant, by one principal set.
        selected_by: Path of the entry whose selector found the account: `spec.workloads[1]`; empty: the file names it.
        path: Where it stands in the file.
    """

    service_account: ServiceAccountRef
    google_service_account: GoogleServiceAccount | None = None
    account_is_existing: bool = False
    member: str = "subject"
    roles: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    token: TokenSettings = field(default_factory=TokenSettings)
    credentials: CredentialsSettings | None = None
    is_namespace: bool = False
    selected_by: str = ""
    path: str = field(default="", compare=False)

    @property
    def label(self) -> str:
        """What addresses call it: `NAMESPACE/NAME`, or `attribute.NAME/NAMESPACE` for a namespace; no account can be called so."""
        return f"{self.member}/{self.service_account.namespace}" if self.is_namespace else str(self.service_account)

    def __str__(self) -> str:
        return f"namespace {self.service_account.namespace}" if self.is_namespace else str(self.service_account)


@dataclass(frozen=True, slots=True)
class AccountSelector:
    """Which Kubernetes service accounts a file means without naming them.

    Attributes:
        labels: Of the accounts.
        namespaces: Where to look; empty with `namespace_labels` None: everywhere.
        namespace_labels: Or: in the namespaces with these labels.
        at_most: How many may match; more are refused, all of them.
    """

    labels: LabelSelector
    namespaces: tuple[str, ...] = ()
    namespace_labels: LabelSelector | None = None
    at_most: int = DEFAULT_AT_MOST


@dataclass(frozen=True, slots=True)
class Selection:
    """A workload that is many: each account that a selector finds may do the same.

    Attributes:
        selector: Finds them.
        pattern: What each of them may do; its account stands for none.
        path: Where it stands in the file.
    """

    selector: AccountSelector
    pattern: Workload
    path: str = ""

    def workload(self, account: ServiceAccountRef) -> Workload:
        """Return the workload of an account that was found."""
        return replace(self.pattern, service_account=account, selected_by=self.path, path=self.path)


@dataclass(frozen=True, slots=True)
class Source:
    """Where each value stands in the file, for messages of those who judge later.

    Attributes:
        path: The file.
        positions: Line and column, both from 1, by path: `spec.workloads[0].serviceAccount`.
    """

    path: Path
    positions: Mapping[str, tuple[int, int]] = field(default_factory=dict, repr=False)

    def where(self, path: str) -> str:
        """Return `FILE:LINE:COLUMN` of a value, or of the nearest value above it that is in the file."""
        while path and path not in self.positions:
            path = parent(path)
        line, column = self.positions.get(path, (1, 1))
        return f"{self.path}:{line}:{column}"


@dataclass(frozen=True, slots=True)
class Federation:
    """One federation file.

    Attributes:
        name: Of the federation.
        google: Google's side.
        cluster: The cluster.
        issuer: Whose tokens.
        workloads: Those that the file names; at plan also those that its selectors find.
        selections: Workloads by selector.
        source: Where each value stands.
    """

    name: str
    google: GoogleSettings
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    issuer: IssuerSettings = field(default_factory=IssuerSettings)
    workloads: tuple[Workload, ...] = ()
    selections: tuple[Selection, ...] = ()
    source: Source = field(default_factory=lambda: Source(Path("podpass.yaml")), compare=False)

    @property
    def patterns(self) -> tuple[Workload, ...]:
        """The workloads, and what each selection gives whether it finds an account or not."""
        return (*self.workloads, *(selection.pattern for selection in self.selections))
