# SPDX-License-Identifier: Apache-2.0
"""The federation file, declared: every key, its form, its default, and one sentence about it."""

from typing import Final, get_args

from podpass.config import drafts, federation, texts
from podpass.config.document import document
from podpass.config.federation import (
    DEFAULT_AT_MOST,
    DEFAULT_CREDENTIALS_KEY,
    DEFAULT_MAPPING,
    DEFAULT_TOKEN_EXPIRATION,
    DEFAULT_TOKEN_PATH,
    KIND,
    BucketSettings,
    CredentialsSettings,
    GrantCondition,
    IssuerSettings,
    PoolSettings,
)
from podpass.config.record import Field, Record
from podpass.config.shape import ListOf, MapOf, Text, Truth, Whole, one_of
from podpass.names import ServiceAccountRef
from podpass.names.bucket import check_bucket_name
from podpass.names.labels import OPERATORS, Requirement, check_label_key, check_label_value
from podpass.names.project import check_project_id
from podpass.names.role import check_role

# Kubernetes' least life of a token; kubelet and TokenRequest refuse less.
_LEAST_TOKEN_S = 600
_MOST_TOKEN_S = 86_400
# IAM quotas: so many principals has one policy room for.
_MOST_SELECTED = 1500

_text: Final = Text(texts.present, {"minLength": 1})
_role: Final = Text(check_role, {"examples": ["roles/storage.objectViewer"]})
_project: Final = Text(check_project_id, {"pattern": "^[a-z][a-z0-9-]{4,28}[a-z0-9]$"})
_namespace: Final = Text(texts.namespace, {"pattern": f"^{texts.DNS_LABEL.pattern}$"})
_bucket_name: Final = Text(check_bucket_name, {"pattern": "^[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]$"})

_existing: Final = Field("existing", Truth(), "Somebody else keeps it: podpass reads it and never changes it.", default=False)

_CLUSTER = Record(
    drafts.cluster,
    (
        Field("kubeconfig", _text, "Path of the kubeconfig, relative to this file; left out: as kubectl finds it."),
        Field("context", _text, "Context of the kubeconfig; left out: its current one."),
        Field(
            "distribution",
            one_of(*get_args(federation.Distribution)),
            "What runs the control plane; auto finds it out.",
            default="auto",
        ),
        Field(
            "talos",
            Record(drafts.talos, (Field("talosconfig", _text, "Path of the talosconfig, relative to this file.", required=True),)),
            "How to reach a Talos cluster's machines.",
        ),
        Field(
            "nodes",
            Record(
                drafts.nodes,
                (
                    Field(
                        "command",
                        ListOf(_text, at_least=1),
                        "Words of a command that runs a script of its standard input as root on a node: "
                        "{node} stands for the node's name, {address} for its address.",
                        required=True,
                    ),
                ),
            ),
            "How to reach the machines of kubeadm, k3s and RKE2; kind's are reached without.",
        ),
    ),
)

_ISSUER = Record(
    IssuerSettings,
    (
        Field(
            "url",
            Text(texts.issuer_url, {"pattern": "^(keep$|https://)"}),
            "keep: the cluster's own issuer; or the https issuer that the cluster has or is to move to.",
            default="keep",
        ),
        Field(
            "keys",
            one_of(*get_args(federation.Keys)),
            "Where Google finds the keys: inline in the provider, in a bucket, or by discovery at a public issuer. "
            "Left out: discovery where the issuer is public and its keys are the provider's to rotate, else inline.",
        ),
        Field(
            "bucket",
            Record(
                BucketSettings,
                (
                    Field("name", _bucket_name, "The bucket's name.", required=True),
                    Field("location", Text(texts.location), "Where it is made; left out: Google's default (US)."),
                ),
            ),
            "The bucket that publishes the issuer's documents; goes with keys: bucket.",
        ),
    ),
)

_GOOGLE = Record(
    drafts.google,
    (
        Field("project", _project, "Id of the project where pool and accounts live.", required=True),
        Field(
            "pool",
            Record(
                PoolSettings,
                (
                    Field("id", Text(texts.pool_id, {"pattern": "^[a-z0-9-]{4,32}$"}), "Id of the pool.", required=True),
                    Field("displayName", Text(texts.display_name, {"maxLength": 32}), "Shown in the console."),
                    _existing,
                ),
            ),
            "The workload identity pool; it serves this cluster only.",
            required=True,
        ),
        Field(
            "provider",
            Record(
                drafts.provider,
                (
                    Field("id", Text(texts.provider_id, {"pattern": "^[a-z0-9-]{4,32}$"}), "Id of the provider.", required=True),
                    Field("displayName", Text(texts.display_name, {"maxLength": 32}), "Shown in the console."),
                    _existing,
                    Field(
                        "formerIds",
                        ListOf(Text(texts.provider_id, {"pattern": "^[a-z0-9-]{4,32}$"})),
                        "Earlier providers whose audience manifests still name: tokens for it are taken, too.",
                    ),
                ),
            ),
            "The pool's provider for this cluster's issuer.",
            required=True,
        ),
        Field(
            "attributeMapping",
            MapOf(
                texts.attribute,
                Text(str),
                {"required": ["google.subject"], "propertyNames": {"pattern": f"^({texts.ATTRIBUTE.pattern})$"}},
            ),
            "Google's attributes, each a CEL expression over the token's claims.",
            default=dict(DEFAULT_MAPPING),
        ),
        Field(
            "attributeCondition",
            Text(texts.condition, {"minLength": 1}, none_means_none=True),
            "generated: admits the workloads below; none: admits every token of the cluster; or a CEL expression.",
            default="generated",
        ),
    ),
)

_GRANT = Record(
    drafts.grant,
    (
        Field("role", _role, "The role.", required=True),
        Field("bucket", _bucket_name, "On this bucket."),
        Field("project", _project, "On this project, by its id."),
        Field(
            "condition",
            Record(
                GrantCondition,
                (
                    Field("title", _text, "Shown in the console.", required=True),
                    Field("expression", _text, "CEL over request and resource.", required=True),
                    Field("description", _text, "Shown in the console."),
                ),
            ),
            "Under this condition only.",
        ),
    ),
)

_labels_field: Final = Field(
    "matchLabels",
    MapOf(check_label_key, Text(check_label_value)),
    "Labels that have to be there, each with this value.",
)
_expressions_field: Final = Field(
    "matchExpressions",
    ListOf(
        Record(
            Requirement,
            (
                Field("key", Text(check_label_key), "The label.", required=True),
                Field("operator", one_of(*OPERATORS), "How its value is judged.", required=True),
                Field("values", ListOf(Text(check_label_value)), "For In and NotIn: against which."),
            ),
        )
    ),
    "What has to hold besides, in Kubernetes' form.",
)

_SELECTOR = Record(
    drafts.selector,
    (
        _labels_field,
        _expressions_field,
        Field("namespaces", ListOf(_namespace, at_least=1), "Look in these; left out: in every namespace."),
        Field(
            "namespaceSelector",
            Record(drafts.namespace_selector, (_labels_field, _expressions_field)),
            "Look in the namespaces with these labels.",
        ),
        Field("everything", Truth(), "Say so where an account without any label is meant, too.", default=False),
        Field(
            "atMost",
            Whole(1, _MOST_SELECTED, "accounts"),
            "How many accounts may match; more are refused, all of them.",
            default=DEFAULT_AT_MOST,
        ),
    ),
)

_WORKLOAD = Record(
    drafts.workload,
    (
        Field(
            "serviceAccount",
            Text(ServiceAccountRef.parse, {"pattern": "^[a-z0-9-]{1,63}/[a-z0-9.-]{1,253}$", "examples": ["default/my-account"]}),
            "The Kubernetes service account: NAMESPACE/NAME.",
        ),
        Field("namespace", _namespace, "Or: every account of this namespace, by one principal set; goes with an attribute that maps it."),
        Field("selector", _SELECTOR, "Or: the accounts with these labels, as the cluster has them when the plan is made."),
        Field(
            "googleServiceAccount",
            _text,
            "The Google service account that it acts as: an id (podpass makes it) or the full email of an existing one. "
            "Left out: direct access, the roles go to the workload's own principal.",
        ),
        Field(
            "member",
            Text(texts.member),
            "Which principal is bound: subject, or an attribute that copies it; of a namespace: the attribute that is the namespace.",
            default="subject",
        ),
        Field("roles", ListOf(_role), "Roles on google.project."),
        Field("grants", ListOf(_GRANT), "Roles on other resources, or under a condition."),
        Field(
            "token",
            Record(
                drafts.token,
                (
                    Field(
                        "expiration",
                        Whole(_LEAST_TOKEN_S, _MOST_TOKEN_S, "seconds"),
                        "Life of the projected token; Google advises some hours at most.",
                        default=int(DEFAULT_TOKEN_EXPIRATION.total_seconds()),
                    ),
                ),
            ),
            "The projected service account token.",
        ),
        Field(
            "credentials",
            Record(
                CredentialsSettings,
                (
                    Field("configMap", Text(texts.config_map_name), "Name of the config map.", required=True),
                    Field("key", Text(texts.config_map_key), "Its key.", default=DEFAULT_CREDENTIALS_KEY),
                    Field(
                        "tokenPath",
                        Text(texts.token_path),
                        "Where the container finds the token.",
                        default=DEFAULT_TOKEN_PATH,
                    ),
                ),
            ),
            "The config map for Google's libraries, in the workload's namespace; left out: none is written.",
        ),
    ),
    is_located=True,
    keywords={"oneOf": [{"required": [key]} for key in ("serviceAccount", "namespace", "selector")]},
)

_SPEC = Record(
    drafts.SpecDraft,
    (
        Field("cluster", _CLUSTER, "Which cluster; found out where possible."),
        Field("issuer", _ISSUER, "Whose tokens Google shall trust."),
        Field("google", _GOOGLE, "Google's side: project, pool, provider.", required=True),
        Field("workloads", ListOf(_WORKLOAD, at_least=1), "Who may do what.", required=True),
    ),
    is_partial=True,
)

DOCUMENT: Final = document(
    KIND,
    Text(texts.federation_name, {"pattern": f"^{texts.DNS_LABEL.pattern}$"}),
    _SPEC,
    "What shall be: google and workloads, with cluster and issuer where needed.",
)
