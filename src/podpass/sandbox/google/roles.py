# SPDX-License-Identifier: Apache-2.0
"""The predefined roles that this universe knows, with the real permissions that its methods ask for.

Written as `service.resource: verbs`, a row a resource. Google has many more, and more permissions in each [R]. One that is missing here, of
a service that has roles here, cannot be granted: it is mistyped. One of another service, such as `roles/pubsub.publisher`, can be, on a
project, so that a real federation can be rehearsed; it allows nothing here.
"""

import re
from collections.abc import Iterator

_PROJECT_READ = "resourcemanager.projects: get list"
_SERVICE_ACCOUNTS = "iam.serviceAccounts: create delete disable enable get getIamPolicy list setIamPolicy undelete update"
_POOLS = """iam.workloadIdentityPools: create delete get list undelete update
            iam.workloadIdentityPoolProviders: create delete get list undelete update"""
_READ_OBJECTS = """storage.objects: get list
                   storage.folders: get list
                   storage.managedFolders: get list"""
_ALL_OBJECTS = """storage.objects: create delete get getIamPolicy list overrideUnlockedRetention restore setIamPolicy setRetention update
                  storage.multipartUploads: abort create list listParts
                  storage.folders: create delete get list rename
                  storage.managedFolders: create delete get list"""
_BUCKETS = "storage.buckets: create delete enableObjectRetention get getIamPolicy list setIamPolicy update"
_SERVICES = """serviceusage.services: disable enable get list use
               serviceusage.operations: cancel delete get list"""
_READ_SERVICES = """run.services: get getIamPolicy list
                    run.revisions: get list
                    run.routes: get list
                    run.locations: list"""
_DEPLOY_SERVICES = f"""{_READ_SERVICES}
                       run.services: create delete update"""
_VIEW = f"""{_PROJECT_READ}
            resourcemanager.projects: getIamPolicy
            iam.serviceAccounts: get getIamPolicy list
            iam.workloadIdentityPools: get list
            iam.workloadIdentityPoolProviders: get list
            iam.roles: get list
            serviceusage.services: get list
            storage.buckets: list
            {_READ_SERVICES}"""

_TABLE = {
    # The basic roles. Owner may not mint tokens of accounts, nor read objects: those come by bucket policies [K].
    "roles/owner": (
        "Owner",
        f"""{_VIEW}
            {_SERVICE_ACCOUNTS}
            {_POOLS}
            {_SERVICES}
            resourcemanager.projects: setIamPolicy update
            {_DEPLOY_SERVICES}
            run.services: setIamPolicy
            run.routes: invoke
            iam.serviceAccounts: actAs
            storage.buckets: create delete enableObjectRetention""",
    ),
    "roles/editor": (
        "Editor",
        f"""{_VIEW}
            iam.serviceAccounts: actAs create delete disable enable undelete update
            {_SERVICES}
            storage.buckets: create delete
            {_DEPLOY_SERVICES}
            run.routes: invoke""",
    ),
    "roles/viewer": ("Viewer", _VIEW),
    "roles/iam.workloadIdentityUser": ("Workload Identity User", "iam.serviceAccounts: get getAccessToken getOpenIdToken list"),
    "roles/iam.serviceAccountTokenCreator": (
        "Service Account Token Creator",
        "iam.serviceAccounts: get getAccessToken getOpenIdToken implicitDelegation list signBlob signJwt",
    ),
    "roles/iam.serviceAccountOpenIdTokenCreator": (
        "Service Account OpenID Connect Identity Token Creator",
        "iam.serviceAccounts: getOpenIdToken",
    ),
    "roles/iam.serviceAccountUser": (
        "Service Account User",
        f"""{_PROJECT_READ}
            iam.serviceAccounts: actAs get list""",
    ),
    "roles/iam.serviceAccountAdmin": ("Service Account Admin", f"{_SERVICE_ACCOUNTS}\n{_PROJECT_READ}"),
    "roles/iam.workloadIdentityPoolAdmin": ("IAM Workload Identity Pool Admin", f"{_POOLS}\n{_PROJECT_READ}"),
    "roles/iam.workloadIdentityPoolViewer": (
        "IAM Workload Identity Pool Viewer",
        """iam.workloadIdentityPools: get list
           iam.workloadIdentityPoolProviders: get list""",
    ),
    "roles/resourcemanager.projectIamAdmin": ("Project IAM Admin", "resourcemanager.projects: get getIamPolicy setIamPolicy"),
    "roles/browser": ("Browser", f"{_PROJECT_READ}\nresourcemanager.projects: getIamPolicy"),
    "roles/serviceusage.serviceUsageAdmin": ("Service Usage Admin", f"{_SERVICES}\n{_PROJECT_READ}"),
    "roles/serviceusage.serviceUsageConsumer": ("Service Usage Consumer", "serviceusage.services: get list use"),
    "roles/storage.admin": ("Storage Admin", f"{_BUCKETS}\n{_ALL_OBJECTS}\n{_PROJECT_READ}"),
    "roles/storage.bucketViewer": ("Storage Bucket Viewer", "storage.buckets: get list"),
    "roles/storage.objectAdmin": ("Storage Object Admin", f"{_ALL_OBJECTS}\n{_PROJECT_READ}"),
    "roles/storage.objectUser": (
        "Storage Object User",
        f"""{_PROJECT_READ}
            storage.objects: create delete get list restore update
            storage.multipartUploads: abort create list listParts
            storage.folders: create delete get list rename
            storage.managedFolders: create delete get list""",
    ),
    "roles/storage.objectViewer": ("Storage Object Viewer", f"{_READ_OBJECTS}\n{_PROJECT_READ}"),
    "roles/storage.objectCreator": (
        "Storage Object Creator",
        f"""{_PROJECT_READ}
            storage.objects: create
            storage.folders: create
            storage.managedFolders: create
            storage.multipartUploads: abort create listParts""",
    ),
    "roles/storage.legacyBucketReader": (
        "Storage Legacy Bucket Reader",
        """storage.buckets: get
           storage.objects: list
           storage.managedFolders: get list
           storage.multipartUploads: list""",
    ),
    "roles/storage.legacyBucketWriter": (
        "Storage Legacy Bucket Writer",
        """storage.buckets: get
           storage.objects: create delete list restore
           storage.managedFolders: get list
           storage.multipartUploads: abort create list listParts""",
    ),
    "roles/storage.legacyBucketOwner": (
        "Storage Legacy Bucket Owner",
        """storage.buckets: enableObjectRetention get getIamPolicy setIamPolicy update
           storage.objects: create delete list restore
           storage.managedFolders: create delete get list
           storage.multipartUploads: abort create list listParts""",
    ),
    "roles/storage.legacyObjectReader": ("Storage Legacy Object Reader", "storage.objects: get"),
    "roles/storage.legacyObjectOwner": ("Storage Legacy Object Owner", "storage.objects: get getIamPolicy setIamPolicy update"),
    "roles/run.admin": (
        "Cloud Run Admin",
        f"""{_PROJECT_READ}
            {_DEPLOY_SERVICES}
            run.services: setIamPolicy
            run.routes: invoke""",
    ),
    "roles/run.developer": ("Cloud Run Developer", f"{_DEPLOY_SERVICES}\n{_PROJECT_READ}"),
    "roles/run.invoker": ("Cloud Run Invoker", "run.routes: invoke"),
    "roles/run.viewer": ("Cloud Run Viewer", f"{_READ_SERVICES}\n{_PROJECT_READ}"),
}


def _permissions(rows: str) -> Iterator[str]:
    for row in rows.splitlines():
        resource, _, verbs = row.strip().partition(": ")
        yield from (f"{resource}.{verb}" for verb in verbs.split())


TITLES: dict[str, str] = {role: title for role, (title, _) in _TABLE.items()}
PERMISSIONS: dict[str, frozenset[str]] = {role: frozenset(_permissions(rows)) for role, (_, rows) in _TABLE.items()}
_ROLE_OF_A_SERVICE = re.compile(r"roles/([a-z][a-z0-9]*)\.[A-Za-z0-9.]+")
_PLAYED = {found[1] for role in _TABLE if (found := _ROLE_OF_A_SERVICE.fullmatch(role))}


def is_of_another_service(role: str) -> bool:
    """Whether it may be a predefined role of a service that has none here."""
    found = _ROLE_OF_A_SERVICE.fullmatch(role)
    return found is not None and found[1] not in _PLAYED
