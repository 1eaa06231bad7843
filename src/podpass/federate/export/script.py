# SPDX-License-Identifier: Apache-2.0
"""A plan as a shell script of gcloud and kubectl commands, for places where podpass may not run. Pure.

The script does what the plan does, in its order. It keeps no receipt: what it made is podpass's own only after `podpass apply --adopt`,
and then it is kept in line and never deleted.
"""

import shlex
from collections.abc import Callable, Iterator, Mapping
from itertools import chain, count
from typing import Final, Literal

from podpass.federate.model.change import Action, Change
from podpass.federate.model.plan import Plan
from podpass.federate.model.resource import JSON, Kind, Resource

_HEAD: Final = """#!/bin/sh
# {what}
# Written by podpass; it holds no secret.
set -eu
"""
_FILE_END: Final = "PODPASS"


def script(plan: Plan) -> str:
    """Return the plan as a script; one that changes nothing says so."""
    what = f"Federation {plan.subject.federation} in project {plan.subject.project}: {len(plan.changes)} changes."
    resources = {resource.address: resource for resource in plan.desired}
    lines = [_HEAD.format(what=what)]
    for change in plan.changes:
        lines.append(f"# {change.action.value} {change.address}")
        lines += _OF_KIND[change.kind](change, resources.get(change.address), plan)
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _run(*words: str, stdin: str | None = None) -> str:
    command = shlex.join(words)
    return command if stdin is None else f"{command} <<'{_FILE_END}'\n{stdin}\n{_FILE_END}"


def _pairs(values: Mapping[str, JSON]) -> str:
    """Write a list of pairs as gcloud reads it; its first characters name a separator that stands in none of them, as a comma may."""
    pairs = [f"{name}={value}" for name, value in values.items()]
    candidates = chain(";|~#%", (f"-{number}-" for number in count()))
    separator = next(one for one in candidates if not any(one in pair for pair in pairs))
    return f"^{separator}^{separator.join(pairs)}"


def _api(change: Change, _: Resource | None, plan: Plan) -> Iterator[str]:
    yield _run("gcloud", "services", "enable", str(change.identity["service"]), f"--project={plan.subject.project}")


def _pool(change: Change, resource: Resource | None, plan: Plan) -> Iterator[str]:
    words = ("gcloud", "iam", "workload-identity-pools")
    where = ("--location=global", f"--project={plan.subject.project}")
    identity = str(change.identity["pool"])
    if change.action is Action.DELETE:
        yield _run(*words, "delete", identity, *where, "--quiet")
        return
    if change.action is Action.UNDELETE:
        yield _run(*words, "undelete", identity, *where)
    body = resource.body if resource else {}
    # No mark: podpass did not make what this script makes.
    flags = [f"--display-name={body['displayName']}"] if "displayName" in body else []
    flags += _enabling(change)
    if change.action is Action.CREATE:
        yield _run(*words, "create", identity, *where, *flags)
    elif flags:  # gcloud refuses an update of nothing
        yield _run(*words, "update", identity, *where, *flags)


def _enabling(change: Change) -> list[str]:
    """Return the flag that enables what somebody has disabled; what is new is enabled."""
    return ["--no-disabled"] if change.action is not Action.CREATE and any(field.name == "disabled" for field in change.fields) else []


def _provider(change: Change, resource: Resource | None, plan: Plan) -> Iterator[str]:
    words = ("gcloud", "iam", "workload-identity-pools", "providers")
    identity = str(change.identity["provider"])
    where = (f"--workload-identity-pool={change.identity['pool']}", "--location=global", f"--project={plan.subject.project}")
    if change.action is Action.DELETE:
        yield _run(*words, "delete", identity, *where, "--quiet")
        return
    if change.action is Action.UNDELETE:
        yield _run(*words, "undelete", identity, *where)
    body: Mapping[str, JSON] = resource.body if resource else {}
    mapping = _pairs(body.get("attributeMapping", {}))
    flags = [
        f"--issuer-uri={body['oidc.issuerUri']}",
        f"--attribute-mapping={mapping}",
        f"--attribute-condition={body['attributeCondition']}",
        *_enabling(change),
    ]
    keys = body.get("oidc.jwksJson")
    verb = "create-oidc" if change.action is Action.CREATE else "update-oidc"
    if keys:
        yield _run("cat", stdin=str(keys)).replace("cat ", 'keys=$(mktemp)\ncat > "$keys" ', 1)
        yield _run(*words, verb, identity, *where, *flags) + ' --jwk-json-path="$keys"'
        yield 'rm "$keys"'
    else:
        yield _run(*words, verb, identity, *where, *flags)


def _account(change: Change, _: Resource | None, plan: Plan) -> Iterator[str]:
    email = str(change.identity["email"])
    words, where = ("gcloud", "iam", "service-accounts"), f"--project={plan.subject.project}"
    if change.action is Action.DELETE:
        yield _run(*words, "delete", email, where, "--quiet")
    elif change.action is Action.CREATE:
        yield _run(*words, "create", email.partition("@")[0], where)


def _member(change: Change, _: Resource | None, plan: Plan) -> Iterator[str]:
    if change.action in {Action.DELETE, Action.UPDATE}:
        gone = change.identity if change.action is Action.DELETE else change.before
        yield binding_command("remove", gone, plan.subject.project)
    if change.action is not Action.DELETE:
        yield binding_command("add", change.identity, plan.subject.project)


def binding_command(verb: Literal["add", "remove"], item: Mapping[str, JSON], project: str) -> str:
    """Return gcloud's command that adds a member to a policy, or removes it.

    Args:
        verb: Which of them.
        item: The member: target, role, member, and condition if there is one.
        project: Where service accounts live.
    """
    kind, _, name = str(item["target"]).partition("/")
    words = {
        "project": ("gcloud", "projects", f"{verb}-iam-policy-binding", name),
        "account": ("gcloud", "iam", "service-accounts", f"{verb}-iam-policy-binding", name, f"--project={project}"),
        "bucket": ("gcloud", "storage", "buckets", f"{verb}-iam-policy-binding", f"gs://{name}"),
    }[kind]
    condition = item.get("condition")
    text = _pairs(condition) if condition else "None"
    flag = () if kind == "bucket" and not condition else (f"--condition={text}",)
    return _run(*words, f"--member={item['member']}", f"--role={item['role']}", *flag)


def _bucket(change: Change, resource: Resource | None, plan: Plan) -> Iterator[str]:
    url = f"gs://{change.identity['bucket']}"
    if change.action is Action.DELETE:
        yield _run("gcloud", "storage", "buckets", "delete", url)
    elif change.action is Action.CREATE and resource:
        location = resource.at_birth.get("location")
        flags = ("--uniform-bucket-level-access", *([f"--location={location}"] if location else []))
        yield _run("gcloud", "storage", "buckets", "create", url, f"--project={plan.subject.project}", *flags)


def _object(change: Change, resource: Resource | None, _: Plan) -> Iterator[str]:
    url = f"gs://{change.identity['bucket']}/{change.identity['object']}"
    if change.action is Action.DELETE:
        yield _run("gcloud", "storage", "rm", url)
    elif resource:
        body = resource.body
        flags = (f"--cache-control={body['cacheControl']}", f"--content-type={body['contentType']}")
        yield _run("printf", "%s", str(body["content"])) + " | " + _run("gcloud", "storage", "cp", "-", url, *flags)


def _config_map(change: Change, resource: Resource | None, _: Plan) -> Iterator[str]:
    identity = change.identity
    words = ("kubectl", f"--namespace={identity['namespace']}")
    if change.action is Action.DELETE:
        yield _run(*words, "delete", "configmap", str(identity["name"]))
    elif resource:
        content = _run("printf", "%s", str(resource.body["content"]))
        made = _run(
            *words,
            "create",
            "configmap",
            str(identity["name"]),
            f"--from-file={identity['key']}=/dev/stdin",
            "--dry-run=client",
            "-o",
            "yaml",
        )
        yield f"{content} | {made} | {_run(*words, 'apply', '-f', '-')}"


_OF_KIND: Final[Mapping[Kind, Callable[[Change, Resource | None, Plan], Iterator[str]]]] = {
    Kind.API: _api,
    Kind.POOL: _pool,
    Kind.PROVIDER: _provider,
    Kind.ACCOUNT: _account,
    Kind.BINDING: _member,
    Kind.GRANT: _member,
    Kind.BUCKET: _bucket,
    Kind.OBJECT: _object,
    Kind.CONFIG_MAP: _config_map,
}
