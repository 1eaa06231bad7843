# SPDX-License-Identifier: Apache-2.0
r"""Kubernetes' protobuf request bodies, as far as kubectl's typed commands send them.

A body is `k8s\0` and a runtime.Unknown around the object. The tables below say what each field number means (generated.proto of
k8s.io/api and k8s.io/apimachinery). A field outside the tables is refused: dropping it would change what the user asked for.
"""

import base64
from typing import Any, Final

from podpass.sandbox.kubernetes.status import StatusError

MAGIC: Final = b"k8s\0"

# "number name:type …". Types: s string, d bytes, i integer, b boolean, Name a message; prefix * repeated, % a map with string keys,
# ? a pointer (its zero value is said on purpose and kept). Go writes plain fields even when empty: empty ones are dropped.
_MESSAGES: Final = {
    "Ignored": "",
    "TypeMeta": "1 apiVersion:s 2 kind:s",
    "Unknown": "1 typeMeta:TypeMeta 2 raw:d 3 contentEncoding:s 4 contentType:s",
    "ObjectMeta": "1 name:s 2 generateName:s 3 namespace:s 4 selfLink:s 5 uid:s 6 resourceVersion:s 7 generation:i "
    "8 creationTimestamp:Ignored 11 labels:%s 12 annotations:%s 13 ownerReferences:*OwnerReference 14 finalizers:*s",
    "OwnerReference": "1 kind:s 3 name:s 4 uid:s 5 apiVersion:s 6 controller:?b 7 blockOwnerDeletion:?b",
    "Namespace": "1 metadata:ObjectMeta 2 spec:NamespaceSpec 3 status:Ignored",
    "NamespaceSpec": "1 finalizers:*s",
    "ServiceAccount": "1 metadata:ObjectMeta 2 secrets:*ObjectReference 3 imagePullSecrets:*LocalObjectReference "
    "4 automountServiceAccountToken:?b",
    "ObjectReference": "1 kind:s 2 namespace:s 3 name:s 4 uid:s 5 apiVersion:s 6 resourceVersion:s",
    "LocalObjectReference": "1 name:s",
    "ConfigMap": "1 metadata:ObjectMeta 2 data:%s 3 binaryData:%d 4 immutable:?b",
    "Secret": "1 metadata:ObjectMeta 2 data:%d 3 type:s 4 stringData:%s 5 immutable:?b",
    "Job": "1 metadata:ObjectMeta 2 spec:JobSpec 3 status:Ignored",
    "JobSpec": "1 parallelism:?i 2 completions:?i 3 activeDeadlineSeconds:?i 6 template:PodTemplateSpec 7 backoffLimit:?i "
    "8 ttlSecondsAfterFinished:?i 9 completionMode:?s 10 suspend:?b",
    "PodTemplateSpec": "1 metadata:ObjectMeta 2 spec:PodSpec",
    "PodSpec": "2 containers:*Container 20 initContainers:*Container 3 restartPolicy:s 4 terminationGracePeriodSeconds:?i 6 dnsPolicy:s "
    "7 nodeSelector:%s 8 serviceAccountName:s 9 serviceAccount:s 10 nodeName:s 11 hostNetwork:b 12 hostPID:b 13 hostIPC:b 16 hostname:s "
    "17 subdomain:s 19 schedulerName:s 21 automountServiceAccountToken:?b 24 priorityClassName:s",
    "Container": "1 name:s 2 image:s 3 command:*s 4 args:*s 5 workingDir:s 7 env:*EnvVar 8 resources:Ignored 13 terminationMessagePath:s "
    "14 imagePullPolicy:s 16 stdin:b 17 stdinOnce:b 18 tty:b 20 terminationMessagePolicy:s",
    "EnvVar": "1 name:s 2 value:s",
    "TokenRequest": "1 metadata:ObjectMeta 2 spec:TokenRequestSpec 3 status:Ignored",
    "TokenRequestSpec": "1 audiences:*s 3 boundObjectRef:BoundObjectReference 4 expirationSeconds:?i",
    "BoundObjectReference": "1 kind:s 2 apiVersion:s 3 name:s 4 uid:s",
    "TokenReview": "1 metadata:ObjectMeta 2 spec:TokenReviewSpec 3 status:Ignored",
    "TokenReviewSpec": "1 token:s 2 audiences:*s",
    "SelfSubjectReview": "1 metadata:ObjectMeta 2 status:Ignored",
    "SelfSubjectAccessReview": "1 metadata:ObjectMeta 2 spec:SelfSubjectAccessReviewSpec 3 status:Ignored",
    "SelfSubjectAccessReviewSpec": "1 resourceAttributes:ResourceAttributes 2 nonResourceAttributes:NonResourceAttributes",
    "ResourceAttributes": "1 namespace:s 2 verb:s 3 group:s 4 version:s 5 resource:s 6 subresource:s 7 name:s",
    "NonResourceAttributes": "1 path:s 2 verb:s",
    "ClusterRoleBinding": "1 metadata:ObjectMeta 2 subjects:*Subject 3 roleRef:RoleRef",
    "Role": "1 metadata:ObjectMeta 2 rules:*PolicyRule",
    "PolicyRule": "1 verbs:*s 2 apiGroups:*s 3 resources:*s 4 resourceNames:*s",
    "RoleBinding": "1 metadata:ObjectMeta 2 subjects:*Subject 3 roleRef:RoleRef",
    "Subject": "1 kind:s 2 apiGroup:s 3 name:s 4 namespace:s",
    "RoleRef": "1 apiGroup:s 2 kind:s 3 name:s",
}
_TABLES: Final = {
    message: dict(zip(map(int, fields.split()[::2]), fields.split()[1::2], strict=True)) for message, fields in _MESSAGES.items()
}
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def decode(body: bytes) -> dict[str, Any]:
    """Return the object in a protobuf body, as its JSON form.

    Raises:
        StatusError: 400, not such a body; 501, a kind or field that the tables lack.
    """
    try:
        unknown = _message(body[len(MAGIC) :], "Unknown")
        head = unknown["typeMeta"]
        return {**head, **_message(base64.b64decode(unknown.get("raw", "")), head["kind"])}
    except (IndexError, KeyError, UnicodeDecodeError) as error:
        raise StatusError(400, "couldn't get version/kind; the body is not Kubernetes protobuf") from error


def _message(data: bytes, name: str) -> dict[str, Any]:
    if name not in _TABLES:
        raise StatusError(415, f"the sandbox's API server does not read {name} as protobuf; send application/json")
    result: dict[str, Any] = {}
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        value, position = _wire_value(data, position, tag & 7)
        if name != "Ignored":  # times and statuses are the server's to write
            _keep(result, _TABLES[name].get(tag >> 3, ""), value, f"{name} field {tag >> 3}")
    return result


def _keep(result: dict[str, Any], column: str, value: int | bytes, where: str) -> None:
    name, _, kind = column.partition(":")
    if not name:
        raise StatusError(415, f"the sandbox's API server does not read {where} as protobuf; send application/json")
    if kind[0] == "%":
        key, item = _map_entry(value)
        result.setdefault(name, {})[key] = _scalar(item, kind[1:])
    elif kind[0] == "*":
        result.setdefault(name, []).append(_scalar(value, kind[1:]))
    else:
        decoded = _scalar(value, kind.lstrip("?"))
        if decoded or kind[0] == "?":
            result[name] = decoded


def _scalar(value: int | bytes, kind: str) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, int):
        return bool(value) if kind == "b" else value - (1 << 64) * (value >> 63)
    match kind:
        case "s":
            return value.decode()
        case "d":
            return base64.b64encode(value).decode()
        case _:
            return _message(value, kind)


def _map_entry(data: int | bytes) -> tuple[str, bytes]:
    entry, position = {1: b"", 2: b""}, 0
    assert isinstance(data, bytes)
    while position < len(data):
        tag, position = _varint(data, position)
        value, position = _wire_value(data, position, tag & 7)
        assert isinstance(value, bytes)
        entry[tag >> 3] = value
    return entry[1].decode(), entry[2]


def _wire_value(data: bytes, position: int, wire_type: int) -> tuple[int | bytes, int]:
    if wire_type == _VARINT:
        return _varint(data, position)
    length = {_FIXED64: 8, _FIXED32: 4}.get(wire_type)
    if length is None:
        if wire_type != _LENGTH:
            raise IndexError
        length, position = _varint(data, position)
    if position + length > len(data):
        raise IndexError
    return data[position : position + length], position + length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:  # noqa: PLR2004 - the continuation bit
            return value, position
