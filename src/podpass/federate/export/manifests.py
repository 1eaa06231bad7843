# SPDX-License-Identifier: Apache-2.0
"""The cluster's side of a federation as manifests for `kubectl apply`: accounts and credential configurations. Pure."""

import yaml

from podpass.config.federation import Federation
from podpass.exchange.provider_list import SUFFIX
from podpass.federate.model.plan import Plan
from podpass.federate.model.resource import JSON, Kind, Resource


def manifests(federation: Federation, plan: Plan) -> str:
    """Return one YAML document for each object; accounts that a selector finds, or that live in a namespace, are others' to write."""
    named = (one.service_account for one in federation.workloads if not (one.is_namespace or one.selected_by))
    accounts = [_account(account.namespace, account.name) for account in named]
    config_maps = [_config_map(resource) for resource in plan.desired if resource.kind is Kind.CONFIG_MAP]
    return yaml.dump_all([*accounts, *config_maps], Dumper=_Dumper, sort_keys=False)


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, so that people can read it."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _account(namespace: str, name: str) -> dict[str, JSON]:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": namespace, "name": name}}


def _config_map(resource: Resource) -> dict[str, JSON]:
    identity = resource.identity
    metadata = {"namespace": identity["namespace"], "name": identity["name"]}
    data = {identity["key"]: resource.body["content"]}
    if resource.body.get("providers"):
        data[identity["key"] + SUFFIX] = resource.body["providers"]
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
