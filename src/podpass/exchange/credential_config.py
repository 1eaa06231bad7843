# SPDX-License-Identifier: Apache-2.0
"""The credential configuration: the file that tells Google's libraries where the subject token is and whom to ask.

It holds no secret, but who can change it can have the token sent elsewhere, or a command run: Google's libraries use the URLs in it as they
are. So `read_credential_config` accepts only what podpass or gcloud writes for a token in a file, with Google's own URLs: those of
googleapis.com, or of another universe (a cloud that Google runs for others) where the caller, not the file, allows it.
"""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final, NoReturn

from podpass.errors import ConfigError
from podpass.exchange.endpoints import UNIVERSE, Endpoints
from podpass.names import GoogleServiceAccount, ProviderName

JWT_TYPE: Final = "urn:ietf:params:oauth:token-type:jwt"

_LIMIT_BYTES: Final = 64 * 1024
# Google (IAM Credentials): an access token lives 1 hour, up to 12 where an organization allows it; 10 minutes is gcloud's least.
_LIFETIME_S: Final = range(600, 43_201)

_VERB: Final = "generateAccessToken"
_REQUIRED = {"type", "audience", "subject_token_type", "token_url", "credential_source"}
_KNOWN = _REQUIRED | {"universe_domain", "token_info_url", "service_account_impersonation_url", "service_account_impersonation"}


def credential_config(
    provider: ProviderName, *, token_path: str, service_account: GoogleServiceAccount | None = None, lifetime: timedelta | None = None
) -> str:
    """Return the file's content, byte for byte as `gcloud iam workload-identity-pools create-cred-config` writes it.

    Args:
        provider: With the project's number, as Google writes it: this becomes the audience.
        token_path: Where the container finds the subject token.
        service_account: The account to act as; None: the workload's own principal (direct access).
        lifetime: Of the access token; None leaves it to Google (1 hour). Only with an account.
    """
    google = Endpoints()
    tail: dict[str, object] = {"token_info_url": google.introspect}
    if service_account:
        tail = {"service_account_impersonation_url": google.account(service_account, _VERB)}
        if lifetime:
            tail["service_account_impersonation"] = {"token_lifetime_seconds": int(lifetime.total_seconds())}
    content = {
        "universe_domain": UNIVERSE,
        "type": "external_account",
        "audience": provider.audience,
        "subject_token_type": JWT_TYPE,
        "token_url": google.token,
        "credential_source": {"file": token_path},
        **tail,
    }
    return json.dumps(content, indent=2)


@dataclass(frozen=True, slots=True)
class CredentialConfig:
    """What a credential configuration says.

    Attributes:
        provider: Whom the subject token is for.
        token_path: The file that holds it.
        token_field: The member that holds it, where the file is JSON; None: the file is the token.
        service_account: The account to act as, if any.
        lifetime: Of the access token, if the file says so.
        universe: Whose services issue the tokens.
        file: Where it was read, to be looked at again; None: it was not read from a file.
    """

    provider: ProviderName
    token_path: str
    token_field: str | None = None
    service_account: GoogleServiceAccount | None = None
    lifetime: timedelta | None = None
    universe: str = UNIVERSE
    file: str | None = None


def load_credential_config(path: str | os.PathLike[str], *, universes: Collection[str] = (UNIVERSE,)) -> CredentialConfig:
    """Read the credential configuration in a file; see `read_credential_config`.

    Raises:
        ConfigError: The file cannot be read, or what is in it is refused.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"The credential configuration {os.fspath(path)} cannot be read.",
            f"{error.strerror or error}.",
            "Mount the ConfigMap that `podpass apply` writes, and name the file that holds its key.",
            code="config.credential-config",
        ) from error
    return replace(read_credential_config(raw, universes=universes), file=os.fspath(path))


def read_credential_config(raw: bytes | str, *, universes: Collection[str] = (UNIVERSE,)) -> CredentialConfig:
    """Read a credential configuration, and refuse every one that could lead a token elsewhere.

    Args:
        raw: The file's content.
        universes: Whose services may be asked; the file's `universe_domain` has to be one of them, and each of its URLs of that one.

    Raises:
        ConfigError: Not such a file; a token source that is no file (`executable`, `url`, `environment_id`, `certificate`); a URL that is
            not Google's; a member that podpass does not know.
    """
    content = _load(raw)
    if content.get("type") != "external_account":
        _refuse(f"Its type is {content.get('type')!r}.", "Only 'external_account' is read here.")
    if missing := sorted(_REQUIRED - content.keys()):
        _refuse(f"It has no {missing[0]!r}.")
    if unknown := sorted(content.keys() - _KNOWN):
        _refuse(
            f"It holds {unknown[0]!r}, which podpass does not use.",
            "Write the file anew with `podpass apply` or gcloud's create-cred-config.",
        )
    _expect(content, "subject_token_type", JWT_TYPE)
    universe = _universe(content, universes)
    google = Endpoints.of(universe)
    _expect(content, "token_url", google.token)
    _expect(content, "token_info_url", google.introspect, is_optional=True)
    token_path, token_field = _source(content["credential_source"])
    account = _account(content.get("service_account_impersonation_url"), google)
    return CredentialConfig(
        provider=ProviderName.parse(_text(content, "audience")),
        token_path=token_path,
        token_field=token_field,
        service_account=account,
        lifetime=_lifetime(content.get("service_account_impersonation"), account),
        universe=universe,
    )


def _refuse(why: str, next_step: str = "") -> NoReturn:
    raise ConfigError("This credential configuration is refused.", why, next_step, code="config.credential-config")


def _load(raw: bytes | str) -> dict[str, object]:
    data = raw.encode() if isinstance(raw, str) else raw
    if len(data) > _LIMIT_BYTES:
        _refuse(f"It has {len(data)} bytes; {_LIMIT_BYTES} are read at most.")
    try:
        content = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        _refuse("It is not JSON.")
    if not isinstance(content, dict):
        _refuse("It is not a JSON object.")
    return content


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        _refuse("A member is there twice.")
    return members


def _text(content: dict[str, object], key: str) -> str:
    value = content[key]
    if not isinstance(value, str):
        _refuse(f"Its {key!r} is not text.")
    return value


def _expect(content: dict[str, object], key: str, wanted: str, *, is_optional: bool = False) -> None:
    if is_optional and key not in content:
        return
    value = _text(content, key)
    if value != wanted:
        _refuse(
            f"Its {key} is {value[:200]!r}, not {wanted!r}.",
            "Who follows it hands its token to somebody else. Find out who wrote the file.",
        )


def _universe(content: dict[str, object], universes: Collection[str]) -> str:
    universe = _text(content, "universe_domain") if "universe_domain" in content else UNIVERSE
    if universe not in universes:
        _refuse(
            f"Its universe_domain is {universe[:200]!r}, not {' or '.join(map(repr, universes))}.",
            "Who follows it hands its token to somebody else. Find out who wrote the file; allow another universe where the file is read.",
        )
    return universe


def _source(source: object) -> tuple[str, str | None]:
    if not isinstance(source, dict):
        _refuse("Its credential_source is not an object.")
    for kind in ("executable", "url", "environment_id", "certificate"):
        if kind in source:
            _refuse(
                f"Its token comes from {kind!r}.", "podpass reads tokens from files only; a file cannot run commands or ask foreign hosts."
            )
    if unknown := sorted(source.keys() - {"file", "format"}):
        _refuse(f"Its credential_source holds {unknown[0]!r}, which podpass does not use.")
    path = source.get("file")
    if not isinstance(path, str) or not path:
        _refuse("Its credential_source names no file.")
    return path, _token_field(source.get("format"))


def _token_field(form: object) -> str | None:
    match form:
        case None | {"type": "text"}:
            return None
        case {"type": "json", "subject_token_field_name": str(name)} if name:
            return name
        case _:
            _refuse("The format in its credential_source is neither text nor json with subject_token_field_name.")


def _account(url: object, google: Endpoints) -> GoogleServiceAccount | None:
    if url is None:
        return None
    before, after = google.account(GoogleServiceAccount("@"), _VERB).split("@")
    if not isinstance(url, str) or not url.startswith(before) or not url.endswith(after):
        _refuse(
            f"Its service_account_impersonation_url is {str(url)[:200]!r}.",
            f"Google's is {before}EMAIL{after}. Find out who wrote the file.",
        )
    return GoogleServiceAccount.parse(url[len(before) : -len(after)])


def _lifetime(settings: object, account: GoogleServiceAccount | None) -> timedelta | None:
    match settings:
        case None:
            return None
        case {"token_lifetime_seconds": int(seconds), **rest} if account and seconds in _LIFETIME_S and not rest:
            return timedelta(seconds=seconds)
        case _:
            _refuse("Its service_account_impersonation is not a lifetime of 600 to 43200 s for an account.")
