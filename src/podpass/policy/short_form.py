# SPDX-License-Identifier: Apache-2.0
"""The policy of two environment variables: one rule that admits an issuer's tokens for an audience."""

from collections.abc import Mapping
from typing import Final

from podpass.errors import ConfigError
from podpass.names import Audience, Issuer
from podpass.policy.invoker_policy import InvokerPolicy, TrustedIssuer
from podpass.policy.members import AllAuthenticatedUsers
from podpass.policy.path_pattern import PathPattern
from podpass.policy.rules import Rule
from podpass.verify.audience import api_server_of

ISSUER: Final = ("PODPASS_ISSUER", "ID_ISSUER")
AUDIENCE: Final = ("PODPASS_AUDIENCE", "JWT_AUDIENCE")

# Issuers that sign for anybody who asks, with any audience: their signature says nothing about who may call. Issuers of one URL for each
# customer (EKS, AKS, GKE, CircleCI, buckets) are not among them.
SHARED_HOSTS: Final = frozenset(
    {
        "accounts.google.com",
        "token.actions.githubusercontent.com",
        "gitlab.com",
        "agent.buildkite.com",
        "app.terraform.io",
        "appleid.apple.com",
        "cognito-identity.amazonaws.com",
        "oauth2.sigstore.dev",
        "slack.com",
        "www.facebook.com",
    }
)
# Microsoft Entra: these tenants stand for every organisation, or for private persons.
_SHARED_TENANTS: Final = tuple(
    f"https://login.microsoftonline.com/{tenant}"
    for tenant in ("common", "organizations", "consumers", "9188040d-6c67-4c5b-b112-36a304b66dad")
)
# The default of kubeadm, k3s and others: no public name, so only the API server of the same cluster can tell its keys.
_IN_CLUSTER_HOST: Final = "kubernetes.default.svc"


def is_configured(environ: Mapping[str, str]) -> bool:
    """Tell whether the environment has anything of the short form."""
    return any(environ.get(name) for name in (*ISSUER, *AUDIENCE))


def from_environment(environ: Mapping[str, str]) -> InvokerPolicy:
    """Read the short form.

    Raises:
        ConfigError: One of the two is missing or no issuer or audience; the two spellings of one differ; or many share the issuer.
    """
    issuer, audience = Issuer.parse(_value(environ, ISSUER)), Audience.parse(_value(environ, AUDIENCE))
    _refuse_shared(issuer)
    _refuse_api_server(issuer, audience)
    in_cluster = issuer.host == _IN_CLUSTER_HOST or issuer.host.startswith(f"{_IN_CLUSTER_HOST}.")
    trusted = TrustedIssuer("cluster", "kubernetes", issuer, "apiserver" if in_cluster else "discovery")
    rule = Rule("short-form", (PathPattern.parse("/**"),), (AllAuthenticatedUsers(),))
    return InvokerPolicy("short-form", (audience,), (trusted,), (rule,))


def _value(environ: Mapping[str, str], names: tuple[str, str]) -> str:
    own, of_the_article = names
    found = {name: value for name in names if (value := environ.get(name))}
    if not found:
        raise ConfigError(
            f"{of_the_article} is not set.",
            f"The short form of a policy is {ISSUER[1]} and {AUDIENCE[1]}; without both every request would be denied.",
            f"Set {own} or {of_the_article}, or name a policy file in PODPASS_POLICY.",
            code="config.short-form",
        )
    if len(set(found.values())) > 1:
        raise ConfigError(f"{own} and {of_the_article} differ.", "They mean the same.", "Set one of them.", code="config.short-form")
    return next(iter(found.values()))


def _refuse_api_server(issuer: Issuer, audience: Audience) -> None:
    if why := api_server_of(audience.value, issuer=issuer.url):
        raise ConfigError(
            f"{audience.value!r} cannot be the audience of a service.",
            f"It is {why}; a service that accepts it accepts tokens meant for that.",
            "Give the service an audience of its own, such as its URL.",
            code="config.audience",
        )


def _refuse_shared(issuer: Issuer) -> None:
    in_shared_tenant = any(issuer.url == tenant or issuer.url.startswith(f"{tenant}/") for tenant in _SHARED_TENANTS)
    if issuer.host.rstrip(".") in SHARED_HOSTS or in_shared_tenant:
        raise ConfigError(
            f"The issuer {issuer.url!r} is not accepted without a policy.",
            "Many share it: it signs tokens for any audience that any of its users names, so its signature alone admits everybody.",
            "Write an InvokerPolicy that names the members, and name its file in PODPASS_POLICY.",
            code="config.shared-issuer",
        )
