# SPDX-License-Identifier: Apache-2.0
r"""Paths with one reading only. Others are refused, not cleaned up: what is judged must be what is served.

Between a client and a handler several programs read a path: proxies, the server, middleware, the router, perhaps an upstream service in
another language. Each may decode once more, merge slashes, resolve `..`, or cut off `;parameters`. A path on which they could differ is
refused with 400 before anything is matched:

- not beginning with `/`; an empty segment (`//`); a segment `.` or `..`, encoded or not;
- an encoded slash; a backslash, encoded or not;
- `;`, `?` or `#`, encoded or not: some readers end a path, or a segment, there (`/private;x` is `/private` to a Java servlet);
- a control character or line separator, encoded or not; bytes that are not UTF-8; raw bytes outside ASCII;
- a `%` that encodes nothing, and one that does so again after decoding (`%2561`);
- letters that turn into one of these when a reader normalises Unicode (NFKC), such as the fullwidth slash.
"""

import re
from typing import Final

from podpass.errors import AmbiguousPathError

# RFC 3986, 3.3 without `;` and without segments that begin with a dot: nothing of this needs a second look.
_PLAIN: Final = re.compile(rb"(?:/[A-Za-z0-9_~!$&'()*+,=:@-][A-Za-z0-9._~!$&'()*+,=:@-]*)*/?")
# For paths of the rarer kind, and compiled when there is one.
_BAD_ESCAPE: Final = rb"%(?![0-9A-Fa-f]{2})"
_ESCAPE: Final = r"%[0-9A-Fa-f]{2}"
_SPLITTING: Final = frozenset("\\;?#")
_CONTROL: Final = frozenset({"Cc", "Zl", "Zp"})
_QUOTE_LIMIT_CHARS = 200


def read_path(raw: bytes) -> str:
    """Decode the path of a request, or refuse it.

    Args:
        raw: As it stands in the request line, without the query.

    Raises:
        AmbiguousPathError: Two readers could understand it differently.
    """
    if raw and _PLAIN.fullmatch(raw):
        return raw.decode("ascii")
    try:
        path = _decoded(raw)
        _check(path)
        if not path.isascii():
            _check_normalised(path)
    except ValueError as error:
        shown = repr(raw[:_QUOTE_LIMIT_CHARS])[1:]
        raise AmbiguousPathError(
            f"The path {shown} can be read in more than one way.",
            f"It has {error}; a rule could judge one path, and a handler serve another.",
            "Send the path as it is served: decoded once, without dots, empty segments and parameters.",
        ) from None
    return path


def _decoded(raw: bytes) -> str:
    if not raw.isascii():
        raise ValueError("bytes outside ASCII")
    if re.search(_BAD_ESCAPE, raw):
        raise ValueError("a '%' that encodes nothing")
    from urllib.parse import unquote_to_bytes  # noqa: PLC0415 - costs much of the guard's start, for paths of the rarer kind

    octets = unquote_to_bytes(raw)
    if octets.count(b"/") != raw.count(b"/"):
        raise ValueError("an encoded slash")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("bytes that are not UTF-8") from None


def _check(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError("no slash at its beginning")
    if "//" in path:
        raise ValueError("an empty segment")
    if not {".", ".."}.isdisjoint(path.split("/")):
        raise ValueError("a dot segment")
    if not _SPLITTING.isdisjoint(path):
        raise ValueError(r"one of the characters \ ; ? #")
    from unicodedata import category  # noqa: PLC0415 - as above

    if any(category(character) in _CONTROL for character in path):
        raise ValueError("a control character")
    if re.search(_ESCAPE, path):
        raise ValueError("an escape within an escape")


def _check_normalised(path: str) -> None:
    from unicodedata import normalize  # noqa: PLC0415 - as above

    normalised = normalize("NFKC", path)
    if normalised.count("/") != path.count("/"):
        raise ValueError("a character that is a slash to readers that normalise Unicode")
    _check(normalised)
