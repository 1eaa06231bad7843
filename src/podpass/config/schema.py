# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of the federation file, for editors. It says less than `load`: rules over several fields are not in it.

`python -m podpass.config.schema` writes it beside this file.
"""

import json
from pathlib import Path
from typing import Final

from podpass.config.fields import DOCUMENT
from podpass.config.shape import Form

PATH: Final = Path(__file__).with_name("federation.schema.json")


def render() -> str:
    """Return the schema as it is shipped."""
    return schema_of("podpass federation file", DOCUMENT)


def schema_of(title: str, document: Form[object]) -> str:
    """Return the schema of a kind of file."""
    head: dict[str, object] = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title}
    return json.dumps(head | document.schema(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(render())
