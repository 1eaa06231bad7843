# SPDX-License-Identifier: Apache-2.0
"""Which identity the pod has at Google: what the operator set, and within it what the account's annotations ask for.

An annotation chooses the Google account, never the provider: that one is bound to the subject token, which the operator mounted.
"""

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Final

from podpass.errors import ConfigError
from podpass.exchange.credential_config import CredentialConfig
from podpass.metadata.subject import Subject
from podpass.metadata.tree import Facts, Machine
from podpass.names.annotations import AccountAnnotations

REFUSED: Final = "config.annotation-refused"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operator says.

    Attributes:
        credential: Provider, subject token, and the Google account unless an annotation names one.
        project_id: The project that clients take for theirs.
        zone: The zone nearest to the cluster.
        attributes: The cluster's name, location and uid.
        reads_annotations: Whether the annotations of the Kubernetes service account are heeded.
        allowed_accounts: Which Google accounts an annotation may name: emails, `*` for any characters; empty: any.
    """

    credential: CredentialConfig
    project_id: str | None = None
    zone: str | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    reads_annotations: bool = False
    allowed_accounts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.credential.provider.pool.project.isdecimal():
            raise ConfigError(
                f"The provider {self.credential.provider} is named by its project's id.",
                "Clients ask the metadata server for the project's number, and the subject token's audience has it, too.",
                f"Write the number: gcloud projects describe {self.credential.provider.pool.project} --format='value(projectNumber)'.",
                code="config.provider-number",
            )


def choose(settings: Settings, annotations: AccountAnnotations, subject: Subject) -> CredentialConfig:
    """Return the identity: the annotations' account if the operator lets them name it, else the operator's.

    Raises:
        ConfigError: An annotation asks for what it may not have.
    """
    provider = settings.credential.provider
    if annotations.provider not in {None, provider}:
        raise ConfigError(
            f"The service account {subject.account} is annotated with the provider {annotations.provider}.",
            f"This metadata server was set up for {provider}.",
            "Correct the annotation, or ask whoever deploys the pod for the other provider and a subject token for it.",
            code=REFUSED,
        )
    if annotations.audience and annotations.audience.value not in subject.audiences:
        raise ConfigError(
            f"The service account {subject.account} is annotated with the audience {annotations.audience.value!r}.",
            f"The pod's subject token is for {' and '.join(subject.audiences)}.",
            "Correct the annotation, or the audience of the projected serviceAccountToken in the pod.",
            code=REFUSED,
        )
    account = annotations.google_service_account
    if account is None:
        return settings.credential
    if settings.allowed_accounts and not any(fnmatchcase(account.email, pattern) for pattern in settings.allowed_accounts):
        raise ConfigError(
            f"The service account {subject.account} is annotated with the Google service account {account}.",
            f"This metadata server acts as {' and '.join(settings.allowed_accounts)} only.",
            "Correct the annotation, or ask whoever deploys the pod for --allow-google-service-account.",
            code=REFUSED,
        )
    return replace(settings.credential, service_account=account)


def facts(settings: Settings, identity: CredentialConfig, subject: Subject) -> Facts:
    """Return what the tree is made of."""
    pool = identity.provider.pool
    account = identity.service_account
    return Facts(
        # Google's name for the trust domain of a pool; like GKE's PROJECT.svc.id.goog it is no email, and fits into a path. [R]
        email=account.email if account else f"{pool.pool}.global.{pool.project}.workload.id.goog",
        project_number=pool.project,
        project_id=settings.project_id,
        machine=Machine(subject.machine_name, subject.machine_number, settings.zone, dict(settings.attributes)),
        universe=identity.universe,
        no_id_token=None if account else _no_id_token(settings, subject),
    )


def _no_id_token(settings: Settings, subject: Subject) -> str:
    cure = "Give podpass metadata-server --google-service-account ID@PROJECT.iam.gserviceaccount.com, and restart the pod."
    if settings.reads_annotations:
        cure = (
            f"Annotate it: kubectl annotate serviceaccount {subject.account.name} --namespace {subject.account.namespace} "
            "iam.gke.io/gcp-service-account=ID@PROJECT.iam.gserviceaccount.com"
        )
    return (
        f"Unable to generate identity token; the service account {subject.account} acts as itself, "
        f"and Google issues ID tokens for Google service accounts only.\n{cure}"
    )
