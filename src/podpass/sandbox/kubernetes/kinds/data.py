# SPDX-License-Identifier: Apache-2.0
"""Config maps and secrets: named values, of 1 MiB together at most, that can be made immutable."""

import base64
import binascii
import re
from typing import Any

from lightkube.models.core_v1 import ConfigMap, Secret

from podpass.sandbox.kubernetes.kind import AGE, NAME, Column, Kind
from podpass.sandbox.kubernetes.schema import SchemaError
from podpass.sandbox.kubernetes.status import Cause, forbidden_value, invalid_value

Json = dict[str, Any]

_KEY = re.compile(r"[-._a-zA-Z0-9]{1,253}")
_LIMIT_BYTES = 1024 * 1024  # core/validation: MaxSecretSize, also for config maps


def _values(obj: Json) -> dict[str, str]:
    return {**(obj.get("data") or {}), **(obj.get("binaryData") or {})}


def _check(obj: Json, old: Json | None) -> list[Cause]:
    causes = []
    for key in _values(obj):
        if not _KEY.fullmatch(key) or key in {".", ".."}:
            rule = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
            causes.append(
                invalid_value(
                    f"data[{key}]",
                    key,
                    f"{rule} (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
                )
            )
    if sum(len(value.encode()) for value in _values(obj).values()) > _LIMIT_BYTES:
        causes.append(Cause("", f"Too long: may not be more than {_LIMIT_BYTES} bytes", "FieldValueTooLong"))
    if old and old.get("immutable"):
        if not obj.get("immutable"):
            causes.append(forbidden_value("immutable", "field is immutable when `immutable` is set"))
        if _values(obj) != _values(old):
            causes.append(forbidden_value("data", "field is immutable when `immutable` is set"))
    return causes


def _check_secret(obj: Json, old: Json | None) -> list[Cause]:
    causes = _check(obj, old)
    if old and obj["type"] != old["type"]:
        causes.append(invalid_value("type", obj["type"], "field is immutable"))
    return causes


def _default_secret(secret: Json) -> None:
    """Give a type; fold `stringData`, which is never stored, into `data`."""
    secret.setdefault("type", "Opaque")
    for key, text in secret.pop("stringData", {}).items():
        secret.setdefault("data", {})[key] = base64.b64encode(text.encode()).decode()
    for value in (secret.get("data") or {}).values():
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise SchemaError("illegal base64 data in a value of data") from error


CONFIG_MAP = Kind(
    ConfigMap,
    "configmaps",
    short_names=("cm",),
    columns=(NAME, Column("Data", lambda obj, _: len(_values(obj)), "integer"), AGE),
    check=_check,
)
SECRET = Kind(
    Secret,
    "secrets",
    columns=(NAME, Column("Type", lambda obj, _: obj["type"]), Column("Data", lambda obj, _: len(_values(obj)), "integer"), AGE),
    selectable=("type",),
    default=_default_secret,
    check=_check_secret,
)
