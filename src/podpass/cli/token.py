# SPDX-License-Identifier: Apache-2.0
"""`podpass token`: get one, take one apart, have one judged."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from podpass.cli.failure import FAILED
from podpass.cli.wrapping import wrap
from podpass.errors import ConfigError

if TYPE_CHECKING:
    from podpass.federate.explain import Explanation
    from podpass.names import Secret

# A token is 16 KiB at most; reading a little more is enough to say that it is too large.
_READ_LIMIT_BYTES = 64 * 1024
_SIGN, _INDENT = 4, 20


@click.group()
def command() -> None:
    """Get, inspect or explain a token.

    A token is read from stdin (-) or from --token-file, never from an argument: arguments are seen by everybody on the machine.
    """


def _read(source: str, token_file: Path | None) -> str:
    """Return the token; white space around it, as files and pipes add it, is not part of it."""
    if token_file:
        octets = token_file.read_bytes()[:_READ_LIMIT_BYTES]
    elif source == "-":
        if sys.stdin.isatty():  # nothing would seem to happen
            click.echo("The token is read from here; Ctrl-D after it. Or name its file: --token-file FILE.", err=True)
        octets = sys.stdin.buffer.read(_READ_LIMIT_BYTES)
    else:
        raise ConfigError(
            "The token was given as an argument.",
            "Arguments are seen by everybody on the machine, and stay in the shell's history.",
            f"Pipe it in: podpass token {click.get_current_context().info_name} - < FILE, or name its file: --token-file FILE.",
            code="config.token-argument",
        )
    return octets.decode("utf-8", "replace").strip()


_source = click.argument("source", default="-", metavar="[-]")
_token_file = click.option(
    "--token-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Read the token from this file."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@command.command(short_help="Print a subject token, or an ID token of Google.")
@click.option("--audience", required=True, help="Whom the token is for.")
@click.option(
    "--source", type=click.Choice(["request", "file", "metadata"]), default="request", show_default=True, help="Where it comes from."
)
@click.option("--service-account", metavar="NAMESPACE/NAME", help="Whose token to request from the API server.")
@click.option("--expiration", type=click.IntRange(600, 86400), default=3600, show_default=True, help="Seconds that it shall live.")
@click.option("--token-file", type=click.Path(path_type=Path), help="The projected token, for --source file.")
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Default: as kubectl finds it.")
@click.option("--context", help="A context of the kubeconfig.")
def get(
    *,
    audience: str,
    source: str,
    service_account: str | None,
    expiration: int,
    token_file: Path | None,
    kubeconfig: Path | None,
    context: str | None,
) -> None:
    """Print a subject token; with --source metadata an ID token of the Google account that a pod acts as.

    It is a credential: pipe it on (podpass token get … | podpass token inspect -).
    """
    from podpass.cli.subject_token import from_file, from_metadata, request

    if source == "metadata":
        _print_secret(from_metadata(audience))
    elif source == "file":
        _print_secret(from_file(token_file, audience))
    else:
        _print_secret(request(service_account, audience, expiration, kubeconfig, context))


def _print_secret(secret: "Secret[str]") -> None:
    click.echo(secret.reveal())


@command.command()
@_source
@_token_file
@_json
def inspect(source: str, token_file: Path | None, *, as_json: bool) -> None:
    """Show a token's header and claims, never its signature.

    Nothing is verified: whoever wrote the token wrote all of this.
    """
    from podpass.verify import parse

    token = parse(_read(source, token_file))
    if as_json:
        click.echo(json.dumps({"version": 1, "verified": False, "header": token.header, "claims": token.payload.members}, indent=2))
        return
    click.echo("Nothing here is verified.\n")
    for title, members in (("header", token.header), ("claims", token.payload.members)):
        click.secho(title, bold=True)
        for name, value in members.items():
            click.echo(f"  {name:<15} {_readable(name, value)}")


def _readable(name: str, value: Any) -> str:  # noqa: ANN401 - whatever the issuer wrote
    text = value if isinstance(value, str) else json.dumps(value)
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    if name in {"exp", "iat", "nbf"} and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return f"{printable}  ({datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M:%S} UTC)"
        except (OverflowError, OSError, ValueError):
            return f"{printable}  (no moment that a clock can show)"
    return printable


@command.command(short_help="Judge a token as Google, or a guard, would, check by check.")
@_source
@_token_file
@click.option(
    "-f",
    "--file",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("podpass.yaml"),
    show_default=True,
    help="The federation file.",
)
@click.option(
    "--policy",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Judge as a guard with this invoker policy would, in place of Google.",
)
@click.option(
    "--jwks",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The issuer's public keys; without it the cluster is asked, or the policy's issuer.",
)
@click.option("--project-number", metavar="NUMBER", help="Of the file's project; without it the token's audience tells.")
@_json
@click.pass_context
def explain(
    context: click.Context,
    *,
    source: str,
    token_file: Path | None,
    file: Path,
    policy: Path | None,
    jwks: Path | None,
    project_number: str | None,
    as_json: bool,
) -> None:
    """Judge a token as Google would, or as a guard with --policy would, check by check, and name the first that fails.

    With --jwks nobody is asked: kubectl get --raw /openid/v1/jwks > jwks.json
    """
    if policy:
        _check_alone(context)
        from podpass.cli.policy_explanation import show

        show(_read(source, token_file), policy, jwks, as_json=as_json)
        return
    from podpass.cli.subject_token import issuer_keys
    from podpass.config.reading import load
    from podpass.discovery.static import StaticKeys
    from podpass.federate.explain import explain as judge
    from podpass.verify import KeySet

    token = _read(source, token_file)
    federation = load(file)
    keys = StaticKeys.read(jwks).known() if jwks else KeySet.parse(issuer_keys(federation.cluster))
    explanation = judge(token, federation, keys, datetime.now(UTC), project_number=project_number)
    (_print_json if as_json else _print_trace)(explanation)
    if explanation.judgement.refusal:
        click.get_current_context().exit(FAILED)


def _check_alone(context: click.Context) -> None:
    for name, option in (("file", "-f"), ("project_number", "--project-number")):
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise ConfigError(
                f"--policy and {option} do not go together.",
                "A guard judges by its policy, Google by the federation file.",
                "Name one of them, and ask twice to know both.",
                code="config.usage",
            )


def _print_json(explanation: "Explanation") -> None:
    judgement = explanation.judgement
    refusal = judgement.refusal
    click.echo(
        json.dumps(
            {
                "version": 1,
                "provider": str(explanation.provider.name),
                "assumptions": list(explanation.assumptions),
                "checks": [
                    {"name": check.name, "passed": check.passed, "detail": check.detail, "warning": check.warning}
                    for check in judgement.checks
                ],
                "not_reached": list(judgement.not_reached),
                "refusal": {"error": refusal.code, "error_description": refusal.description} if refusal else None,
                "attributes": dict(judgement.attributes),
            },
            indent=2,
        )
    )


def _print_trace(explanation: "Explanation") -> None:
    judgement = explanation.judgement
    for assumption in explanation.assumptions:
        click.echo("Assumed: " + wrap(assumption, first=len("Assumed: "), rest=len("Assumed: ")))
    for check in judgement.checks:
        click.secho("  ✓ " if check.passed else "  ✗ ", fg="green" if check.passed else "red", nl=False)
        click.echo(wrap(f"{check.name:<15} {check.detail}", first=_SIGN, rest=_INDENT))
        if check.warning:
            click.secho(" " * _INDENT + wrap(check.warning, first=_INDENT, rest=_INDENT), fg="yellow")
    for name in judgement.not_reached:
        click.secho(f"  - {name:<15} not reached", dim=True)
    if judgement.refusal:
        click.echo(f"\nGoogle's answer: {judgement.refusal.code}: {judgement.refusal.description}")
    else:
        click.echo(f"\nGoogle accepts it as principal://iam.googleapis.com/{explanation.provider.name.pool}/subject/{judgement.subject}")
