# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of the faults file, for editors. `python -m podpass.sandbox.weather.schema` writes it beside this file."""

from pathlib import Path
from typing import Final

from podpass.config.schema import schema_of
from podpass.sandbox.weather.fields import DOCUMENT

PATH: Final = Path(__file__).with_name("faults.schema.json")


def render() -> str:
    """Return the schema as it is shipped."""
    return schema_of("podpass faults file", DOCUMENT)


if __name__ == "__main__":
    PATH.write_text(render())
