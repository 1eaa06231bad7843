# SPDX-License-Identifier: Apache-2.0
"""Log lines of a command, on stderr, as text or as one JSON object a line."""

import json
import logging
from datetime import UTC, datetime


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up_logging(level: int, *, as_json: bool) -> None:
    """Send podpass's own log to stderr. Other libraries' logs stay silent below warnings: some of them print headers.

    google-auth's warnings say in its words what podpass's own errors say with a cure: they are for --verbose.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.getLogger().handlers = [handler]
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("podpass").setLevel(level)
    logging.getLogger("google.auth").setLevel(logging.WARNING if level <= logging.DEBUG else logging.ERROR)
