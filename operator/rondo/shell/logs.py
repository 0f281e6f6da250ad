"""Logs: one JSON object a line in clusters, text on terminals; both with the key of the object they speak of."""

from __future__ import annotations

import logging

from pythonjsonlogger.json import JsonFormatter


def set_up_logs(form: str, level: str) -> None:
    """Set up logging for the process.

    Args:
        form: `json` or `text`.
        level: Such as `INFO`.
    """
    handler = logging.StreamHandler()
    if form == "json":
        fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
        renamed = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(fields, rename_fields=renamed))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
