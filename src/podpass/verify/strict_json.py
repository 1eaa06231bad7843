# SPDX-License-Identifier: Apache-2.0
"""JSON with one meaning only: UTF-8, no duplicate members, bounded nesting (ADR 0003).

msgspec refuses what is not JSON (NaN, numbers out of range, lone surrogates, a byte order mark, bytes after the value), but keeps the last
of duplicate members without a word. Two readers of one token could then see two subjects.
"""

from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    import json

# A Kubernetes token nests 3 deep. Deep nesting serves only to exhaust a recursive reader further up.
NESTING_LIMIT = 32

# What ends a nest of lists before anything of it is decoded; other deep texts are found out later.
NEST = b"[" * (NESTING_LIMIT + 1)
TOO_DEEP = f"it is nested deeper than {NESTING_LIMIT} levels"

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def parse_object(raw: bytes) -> dict[str, Any]:
    """Read one JSON object.

    Steps, cheapest first:

    1. Decode; what is not JSON ends here.
    2. Bound the nesting: no more brackets than the limit means no deeper nesting either; otherwise measure it.
    3. Encode what was decoded. Equal bytes are the proof that no member was dropped. A text with white space, escapes or other spellings
       differs, and is read again by a parser that sees every pair.

    Raises:
        ValueError: Not UTF-8, not JSON, not an object, a member twice in one object, or nested too deep. The message says which, as the
            second half of a sentence, and quotes nothing.
    """
    try:
        return read_object(raw)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise ValueError(reason_of(error)) from None


def reason_of(error: Exception) -> str:
    """Say what is wrong with a text, after whatever `read_object` or `base64url.decode` has raised."""
    if type(error) is ValueError:
        return str(error)
    return "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else "it is not JSON"


def is_a_nest(raw: bytes, start: int) -> bool:
    """Tell whether the `NEST` that begins at `start` is one for sure, and not the inside of a string: then nothing less deep can follow."""
    return raw.count(b'"', 0, start) % 2 == 0 and raw.find(b"\\", 0, start) < 0


def read_object(raw: bytes) -> dict[str, Any]:
    """Do `parse_object` for those who have to catch more: what cannot be decoded is for `reason_of`.

    Raises:
        ValueError: As by `parse_object`, `UnicodeDecodeError` among them.
        msgspec.DecodeError: Not JSON.
        RecursionError: Not JSON that anybody reads.
    """
    value = _decoder.decode(raw)
    if not isinstance(value, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - every refusal of a text is a ValueError here
    if raw.count(b"{") + raw.count(b"[") > NESTING_LIMIT and _is_nested_deeper(value, NESTING_LIMIT):
        raise ValueError(TOO_DEEP)
    if _encoder.encode(value) != raw:
        # May raise: numbers stay text there, since their values are msgspec's business, and Python's own limit on digits must not matter.
        _pairs_decoder().decode(raw.decode("utf-8"))
    return value


def _is_nested_deeper(value: object, limit: int) -> bool:
    level: list[object] = [value]
    for _ in range(limit + 1):
        containers = [entry for entry in level if isinstance(entry, dict | list)]
        if not containers:
            return False
        level = [entry for container in containers for entry in (container.values() if isinstance(container, dict) else container)]
    return True


def _refuse_pairs(pairs: list[tuple[str, object]]) -> None:
    if len({name for name, _ in pairs}) != len(pairs):
        raise ValueError("one of its JSON objects has a member twice")


@cache
def _pairs_decoder() -> "json.JSONDecoder":
    import json  # noqa: PLC0415 - for tokens that are not written as nearly all are

    return json.JSONDecoder(object_pairs_hook=_refuse_pairs, parse_int=str, parse_float=str)
