# SPDX-License-Identifier: Apache-2.0
"""Texts of the federation file that have a form: each function returns what the text stands for, or raises a ConfigError."""

import re
from pathlib import PurePosixPath
from typing import Literal

from podpass.config.federation import DEFAULT_TOKEN_PATH, GENERATED, Generated
from podpass.config.spelling import nearest
from podpass.errors import ConfigError
from podpass.names import Issuer
from podpass.names.pool import check_id

# Google (IAM v1 reference): WorkloadIdentityPool.displayName.
_DISPLAY_NAME_LIMIT_CHARS = 32
# Google (IAM v1 reference): attributeMapping's keys.
ATTRIBUTE = re.compile(r"google\.(subject|groups)|attribute\.[a-z0-9_]{1,100}")
DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_SUBDOMAIN_LIMIT_CHARS = 253
_CONFIG_MAP_KEY = re.compile(r"(?!\.\.?$)[-._a-zA-Z0-9]{1,253}")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")
_OF_A_NODE = frozenset({"{node}", "{address}"})
_LOCATION = re.compile(r"[A-Za-z][A-Za-z0-9-]{1,30}")


def present(text: str) -> str:
    """Return text that holds something."""
    if not text.strip():
        raise ConfigError("This text is empty.", "", "Write a value, or remove the key.", code="config.empty")
    return text


def node_command(words: tuple[str, ...]) -> tuple[str, ...]:
    """Return the words of a command that reaches one node."""
    named = [name for word in words for name in _PLACEHOLDER.findall(word)]
    if len(named) == 1 and named[0] in _OF_A_NODE and not _PLACEHOLDER.search(words[0]):
        return words
    raise ConfigError(
        "This command does not reach one node.",
        "One of its words, and not the first, holds {node} or {address}, once.",
        'Write it as words: [ssh, "{node}", sudo, -n, sh].',
        code="config.node-command",
    )


def federation_name(text: str) -> str:
    """Return a federation's name: a DNS label."""
    if DNS_LABEL.fullmatch(text):
        return text
    raise ConfigError(
        f"{text!r} cannot be the name of a federation.",
        "A name has 1 to 63 of a-z, 0-9 and '-', and begins and ends with a letter or digit.",
        "It names the receipt in the cluster; choose one for each pool.",
        code="config.name",
    )


def issuer_url(text: str) -> Literal["keep"] | Issuer:
    """Return `keep`, or an issuer."""
    return "keep" if text == "keep" else Issuer.parse(text)


def pool_id(text: str) -> str:
    """Return the id of a pool."""
    check_id("workload identity pool", text)
    return text


def provider_id(text: str) -> str:
    """Return the id of a provider."""
    check_id("provider", text)
    return text


def display_name(text: str) -> str:
    """Return a name for the console."""
    if len(present(text)) <= _DISPLAY_NAME_LIMIT_CHARS:
        return text
    raise ConfigError(
        f"This display name has {len(text)} characters.",
        f"Google accepts {_DISPLAY_NAME_LIMIT_CHARS}.",
        "Shorten it.",
        code="config.display-name",
    )


def location(text: str) -> str:
    """Return a bucket's location."""
    if _LOCATION.fullmatch(text):
        return text
    raise ConfigError(f"{text!r} is not a bucket's location.", "", "Write a region or multi-region: us-east1, EU.", code="config.bucket")


def attribute(text: str) -> str:
    """Return a key of the attribute mapping."""
    if ATTRIBUTE.fullmatch(text):
        return text
    meant = nearest(text, ["google.subject", "google.groups"])
    raise ConfigError(
        f"{text!r} is not an attribute that Google maps to.",
        "Those are google.subject, google.groups, and attribute.NAME with 1 to 100 of a-z, 0-9 and '_'.",
        f"Did you mean {meant!r}?" if meant else f"Write attribute.{re.sub(r'[^a-z0-9_]', '_', text.casefold()) or 'name'}.",
        code="config.attribute",
    )


def condition(text: str) -> Generated | str | None:
    """Return what an attribute condition stands for."""
    if text in {"generated", "none"}:
        return GENERATED if text == "generated" else None
    if text.isidentifier() and (meant := nearest(text, ["generated", "none"])):
        raise ConfigError(f"{text!r} is not an expression.", "", f"Did you mean {meant!r}?", code="config.choice")
    return present(text)


def member(text: str) -> str:
    """Return `subject`, or the name of an attribute."""
    if text == "subject" or (text.startswith("attribute.") and ATTRIBUTE.fullmatch(text)):
        return text
    raise ConfigError(
        f"{text!r} selects no principal.",
        "",
        "Write subject, or the attribute of the mapping that copies assertion.sub, such as attribute.sub.",
        code="config.member",
    )


def namespace(text: str) -> str:
    """Return a Kubernetes namespace."""
    if DNS_LABEL.fullmatch(text):
        return text
    why = "A namespace has 1 to 63 of a-z, 0-9 and '-', and begins and ends with a letter or digit."
    raise ConfigError(f"{text[:80]!r} is not a Kubernetes namespace.", why, "", code="config.namespace")


def config_map_name(text: str) -> str:
    """Return a config map's name."""
    if _DNS_SUBDOMAIN.fullmatch(text) and len(text) <= _DNS_SUBDOMAIN_LIMIT_CHARS:
        return text
    why = "A name has 1 to 253 of a-z, 0-9, '-' and '.', and begins and ends with a letter or digit."
    raise ConfigError(f"{text!r} cannot be the name of a config map.", why, "", code="config.config-map")


def config_map_key(text: str) -> str:
    """Return a key of a config map."""
    if _CONFIG_MAP_KEY.fullmatch(text):
        return text
    why = "A key has 1 to 253 of letters, digits, '-', '_' and '.'."
    raise ConfigError(f"{text!r} cannot be a key of a config map.", why, "", code="config.config-map")


def token_path(text: str) -> str:
    """Return the path of a file in a container."""
    path = PurePosixPath(text)
    if path.is_absolute() and ".." not in path.parts and str(path) == text and path != PurePosixPath("/"):
        return text
    raise ConfigError(
        f"{text!r} is not the path of a file in a container.",
        "It begins with '/', names a file, and holds no '..', no '//' and no '/' at its end.",
        f"Write the mount path and the token's file name: {DEFAULT_TOKEN_PATH}.",
        code="config.token-path",
    )
