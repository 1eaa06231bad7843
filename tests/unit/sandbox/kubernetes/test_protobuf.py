# SPDX-License-Identifier: Apache-2.0
import pytest

from podpass.sandbox.kubernetes.protobuf import MAGIC, decode
from podpass.sandbox.kubernetes.status import StatusError


def field(number: int, content: bytes | int) -> bytes:
    """Encode one field; every number and length here is under 128 or written out."""
    if isinstance(content, int):
        return bytes([number << 3]) + content.to_bytes(1, "little")
    return bytes([number << 3 | 2, len(content)]) + content


def body(api_version: str, kind: str, *fields: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version.encode()) + field(2, kind.encode())) + field(2, b"".join(fields))


def test_service_account_keeps_what_its_pointer_says_and_drops_what_is_empty() -> None:
    metadata = field(1, field(1, b"robot") + field(2, b"") + field(8, b""))
    assert decode(body("v1", "ServiceAccount", metadata, field(4, 0))) == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "robot"},
        "automountServiceAccountToken": False,
    }


def test_maps_keep_empty_values_and_bytes_become_base64() -> None:
    pairs = field(2, field(1, b"a") + field(2, b"")) + field(2, field(1, b"b") + field(2, b"x"))
    assert decode(body("v1", "ConfigMap", pairs))["data"] == {"a": "", "b": "x"}
    assert decode(body("v1", "Secret", field(2, field(1, b"k") + field(2, b"\x00\xff"))))["data"] == {"k": "AP8="}


def test_numbers_of_several_bytes_are_read() -> None:
    spec = field(1, b"sts") + bytes([4 << 3, 0x90, 0x1C])
    assert decode(body("authentication.k8s.io/v1", "TokenRequest", field(2, spec)))["spec"] == {
        "audiences": ["sts"],
        "expirationSeconds": 3600,
    }


def test_field_outside_the_tables_is_refused_and_named() -> None:
    with pytest.raises(StatusError, match="ConfigMap field 9 as protobuf") as caught:
        decode(body("v1", "ConfigMap", field(9, b"?")))
    assert caught.value.code == 415


def test_kind_outside_the_tables_is_refused_and_named() -> None:
    with pytest.raises(StatusError, match="does not read Pod as protobuf"):
        decode(body("v1", "Pod", field(1, b"")))


@pytest.mark.parametrize("cut", [1, 5, 9, 20])
def test_body_that_was_cut_off_is_400(cut: int) -> None:
    whole = body("v1", "ConfigMap", field(1, field(1, b"name")))
    with pytest.raises(StatusError) as caught:
        decode(whole[:-cut])
    assert caught.value.code == 400
