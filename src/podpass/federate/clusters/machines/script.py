# SPDX-License-Identifier: Apache-2.0
"""Scripts for a node's `sh`, and what they print. Pure.

A script goes to the node's standard input. It is one function that is called in the last line, so a script that arrives in part does
nothing. Whatever comes from elsewhere goes in as base64 or as one quoted word. What it prints stands in lines that begin with a word made
for this one run, so a login's greeting is passed over, and an answer without its last line is no answer.
"""

import base64
import binascii
import hashlib
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

LIMIT_BYTES: Final = 1 << 20
"""How large a file of a node may be."""

# `give NAME FILE` prints a file; `refuse REASON` ends the script with nothing done.
_HEAD: Final = """\
set -eu
umask 077
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
mark={mark}
give() {{
  [ "$(wc -c < "$2")" -le {limit} ] || refuse too-large
  printf '%s %s ' "$mark" "$1"; base64 < "$2" | tr -d '\\n'; echo
}}
refuse() {{ printf '%s refused %s\\n' "$mark" "$1"; exit 3; }}
digest() {{ sha256sum < "$1" | cut -c1-64; }}
first_of() {{
  for file in "$@"; do
    if [ -r "$file" ]; then found=$(cat "$file"); if [ -n "$found" ]; then printf %s "$found"; return; fi; fi
  done
}}
podpass() {{
"""
_TAIL: Final = """
printf '%s end\\n' "$mark"
}
podpass </dev/null
"""


@dataclass(frozen=True, slots=True)
class Script:
    """A script to send.

    Attributes:
        mark: What its lines begin with.
        text: The whole of it.
    """

    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What a script printed.

    Attributes:
        files: The files that it gave, by name.
        refused: Why it did nothing; empty: it came to its end.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    refused: str = ""


def compose(*parts: str) -> Script:
    """Put a script together; each part is lines of `sh`, with every foreign word quoted by `shlex` or given by `file_of`."""
    mark = f"podpass-{secrets.token_hex(8)}"
    return Script(mark, _HEAD.format(mark=mark, limit=LIMIT_BYTES) + "\n".join(parts) + _TAIL)


def is_machine(machine_id: str, boot_id: str) -> str:
    """Return lines that end the script on any other machine than this one; what is empty is not compared."""
    lines = []
    if machine_id:
        found = '"$(first_of /etc/machine-id /var/lib/dbus/machine-id)"'
        lines.append(f"[ {found} = {shlex.quote(machine_id)} ] || refuse other-machine")
    if boot_id:
        lines.append(f'[ "$(first_of /proc/sys/kernel/random/boot_id)" = {shlex.quote(boot_id)} ] || refuse other-machine')
    return "\n".join(lines)


def file_of(content: str, path: str) -> str:
    """Return lines that write a text to a path, which may have `$variables` of the script in it; a text that arrives in part is refused."""
    raw = content.encode()
    body = base64.encodebytes(raw).decode().rstrip("\n")
    wanted = hashlib.sha256(raw).hexdigest()
    return f'base64 -d > "{path}" <<\'PODPASS\'\n{body}\nPODPASS\n[ "$(digest "{path}")" = {wanted} ] || refuse not-written'


def parse(output: bytes, mark: str) -> Answer | None:
    """Read what a script printed; None: it did not come to its end."""
    files: dict[str, bytes] = {}
    for line in output.decode("utf-8", "replace").splitlines():
        words = line.split(" ")
        if words[0] != mark:
            continue
        match words[1:]:
            case ["end"]:
                return Answer(files)
            case ["refused", reason]:
                return Answer(files, refused=reason)
            case [name, content]:
                files[name] = _decoded(content)
            case _:
                return None
    return None


def _decoded(content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except binascii.Error:
        return b""
