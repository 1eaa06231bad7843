# SPDX-License-Identifier: Apache-2.0
"""`podpass metadata-server`: Google's metadata server for one pod, as a sidecar."""

import asyncio
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from podpass.cli.failure import FAILED

if TYPE_CHECKING:
    from podpass.exchange.credential_config import CredentialConfig
    from podpass.metadata.account import Settings
    from podpass.metadata.sidecar import Annotations, Sidecar

LISTEN: Final = "127.0.0.1:8987"
_CHECK_TIMEOUT_S = 2


@click.command(short_help="Serve Google's tokens inside a pod, as on GKE.")
@click.option("--listen", "listen_on", default=LISTEN, show_default=True, metavar="ADDRESS:PORT", help="On the pod's loopback address.")
@click.option("--health-listen", metavar="ADDRESS:PORT", help="Answer /livez, /readyz and /metrics here, too, and nothing else.")
@click.option(
    "--credential-config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Provider, token file and Google account, from a file of type external_account.",
)
@click.option("--provider", metavar="NAME", help="Without such a file: the provider, projects/NUMBER/locations/global/…/providers/ID.")
@click.option("--token-file", metavar="FILE", help="The projected subject token.")
@click.option("--google-service-account", metavar="EMAIL", help="The account to act as; left out: the workload's own principal.")
@click.option("--annotations", is_flag=True, help="Let the annotations of the pod's Kubernetes service account name the Google account.")
@click.option(
    "--allow-google-service-account",
    "allowed",
    multiple=True,
    metavar="EMAIL",
    help="Which ones they may name; * stands for any characters.",
)
@click.option("--project-id", envvar="GOOGLE_CLOUD_PROJECT", metavar="ID", help="The project that clients take for theirs.")
@click.option("--zone", metavar="ZONE", help="The zone of Google's that is nearest to the cluster.")
@click.option("--cluster-name", metavar="NAME", help="The attribute cluster-name.")
@click.option("--cluster-location", metavar="LOCATION", help="The attribute cluster-location.")
@click.option("--cluster-uid", metavar="UID", help="The attribute cluster-uid.")
@click.option("--insecure-any-address", is_flag=True, help="Listen elsewhere than on loopback: whoever reaches it gets the pod's tokens.")
@click.option("--check", is_flag=True, help="Serve nothing; end with 0 if the server that listens there is ready.")
@click.pass_context
def command(
    context: click.Context, /, *, listen_on: str, health_listen: str | None, insecure_any_address: bool, check: bool, **options: object
) -> None:
    """Serve Google's tokens on the pod's loopback, as the metadata server of GKE does.

    Clients find it by GCE_METADATA_HOST, GCE_METADATA_IP and GCE_METADATA_ROOT, all three ADDRESS:PORT.
    """
    if check:
        context.exit(_check(listen_on))
    from podpass.metadata.address import Address, bind, listen, require_own_network

    require_own_network()
    _tell_what_is_served()
    with ExitStack() as stack:
        listening = stack.enter_context(bind(Address.parse(listen_on), insecure_any_address=insecure_any_address))
        health = stack.enter_context(listen(Address.parse(health_listen))) if health_listen else None
        # What follows takes a moment to import; clients that come meanwhile are kept waiting by the kernel.
        from podpass.metadata.serving import serve

        async def run() -> None:
            await serve(_sidecar(_settings(options)), listening, health)

        asyncio.run(run())


def _tell_what_is_served() -> None:
    """Have where it listens and whom the pod acts as in the log: a server that says nothing looks like one that hangs."""
    served = logging.getLogger("podpass.metadata")
    if not served.isEnabledFor(logging.INFO):
        served.setLevel(logging.INFO)


def _check(listen_on: str) -> int:
    import http.client

    from podpass.metadata.address import Address

    address = Address.parse(listen_on)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_CHECK_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        click.echo(response.read(1024).decode(errors="replace").strip())
    except (OSError, http.client.HTTPException) as error:  # nobody listens there, or somebody else does
        click.echo(f"{address} does not answer: {getattr(error, 'strerror', None) or repr(error)}", err=True)
        return FAILED
    finally:
        connection.close()
    return 0 if response.status == http.client.OK else FAILED


def _settings(options: dict[str, object]) -> "Settings":
    from podpass.metadata.account import Settings

    names = ("cluster-name", "cluster-location", "cluster-uid")
    values = ((name, _text(options[name.replace("-", "_")])) for name in names)
    allowed = options["allowed"]
    return Settings(
        credential=_credential(options),
        project_id=_text(options["project_id"]),
        zone=_text(options["zone"]),
        attributes=tuple((name, value) for name, value in values if value),
        reads_annotations=bool(options["annotations"]),
        allowed_accounts=tuple(str(each) for each in allowed) if isinstance(allowed, tuple) else (),
    )


def _credential(options: dict[str, object]) -> "CredentialConfig":
    from dataclasses import replace

    from podpass.exchange.credential_config import CredentialConfig, load_credential_config
    from podpass.names import GoogleServiceAccount, ProviderName

    file, provider, token_file = (options[name] for name in ("credential_config", "provider", "token_file"))
    if isinstance(file, Path):
        if provider:
            raise click.UsageError("--credential-config and --provider exclude each other: both name the provider.")
        credential = load_credential_config(file)
        credential = replace(credential, token_path=str(token_file), token_field=None) if token_file else credential
    elif provider and token_file:
        credential = CredentialConfig(ProviderName.parse(str(provider)), str(token_file))
    else:
        raise click.UsageError("Name --credential-config FILE, or --provider NAME and --token-file FILE.")
    account = _text(options["google_service_account"])
    return replace(credential, service_account=GoogleServiceAccount.parse(account)) if account else credential


def _text(value: object) -> str | None:
    return str(value) if value else None


def _sidecar(settings: "Settings") -> "Sidecar":
    from podpass.exchange.workload_tokens import WorkloadTokens
    from podpass.metadata.sidecar import Sidecar

    def tokens(identity: "CredentialConfig") -> WorkloadTokens:
        return WorkloadTokens.from_config(identity, background=True)

    return Sidecar(settings, tokens, _annotations() if settings.reads_annotations else None)


def _annotations() -> "Annotations":
    from podpass.discovery.api_server import InClusterApi  # brings the verification of tokens along: megabytes for each pod

    return InClusterApi.find().annotations
