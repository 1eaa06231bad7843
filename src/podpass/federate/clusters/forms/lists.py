# SPDX-License-Identifier: Apache-2.0
"""Lists of arguments: k3s and RKE2, k0s, kops, MicroK8s' files, and command lines of pods. Pure."""

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Final

from podpass.federate.clusters.flags import API_AUDIENCES, ISSUER, JWKS_URI, parse_arguments
from podpass.federate.clusters.statement import Node, Statement, from_map, items, mapping, text

RANCHER_KEY: Final = "kube-apiserver-arg"
KONNECTIVITY: Final = "system:konnectivity-server"
_ARGUMENT: Final = re.compile(r"([A-Za-z0-9-]+)([+-]?)=(.*)", re.DOTALL)
# name in kops -> flag
_KOPS: Final = {
    "serviceAccountIssuer": ISSUER,
    "additionalServiceAccountIssuers": ISSUER,
    "apiAudiences": API_AUDIENCES,
    "serviceAccountJWKSURI": JWKS_URI,
}


def is_rancher(document: object) -> bool:
    """Whether it is a configuration of k3s or RKE2."""
    return any(str(name).rstrip("+") == RANCHER_KEY for name in mapping(document))


def read_rancher(document: Node, where: str) -> Iterator[Statement]:
    """Read `kube-apiserver-arg`: `x=v` drops the default, `x+=v` adds behind it, `x-=v` before it."""
    values = [one for name, value in document.items() if str(name).rstrip("+") == RANCHER_KEY for one in (items(value) or [value])]
    parsed = [match for one in values if (match := _ARGUMENT.fullmatch(text(one)))]
    kept = frozenset(match[1] for match in parsed if match[2])
    yield Statement(where, "k3s or RKE2 configuration", tuple((match[1], match[3]) for match in parsed), kept, is_change=True)


def read_k0s(document: Node, where: str) -> Iterator[Statement]:
    """Read k0s.yaml."""
    settings = from_map(mapping(document, "spec", "api", "extraArgs"))
    yield Statement(where, "k0s configuration", settings, is_change=True, required_audiences=(KONNECTIVITY,))


def read_kops(document: Node, where: str) -> Iterator[Statement]:
    """Read a kops Cluster."""
    given = mapping(document, "spec", "kubeAPIServer")
    settings = tuple((flag, text(one)) for name, flag in _KOPS.items() if name in given for one in (items(given[name]) or [given[name]]))
    yield Statement(where, "kops cluster", settings, is_change=True)


def read_command(words: Sequence[str], where: str, form: str) -> Statement:
    """Read a command line."""
    return Statement(where, form, tuple(parse_arguments(words)))


def is_arguments_file(content: str) -> bool:
    """Whether it is a file of flags, as MicroK8s keeps them: each line empty, a comment or a flag."""
    lines = [line.strip() for line in content.splitlines() if line.strip() and not line.strip().startswith("#")]
    return bool(lines) and all(line.startswith("--") for line in lines)


def read_arguments_file(content: str, where: str) -> Iterator[Statement]:
    """Read MicroK8s' file of flags."""
    yield read_command(shlex.split(content, comments=True), where, "file of arguments")
