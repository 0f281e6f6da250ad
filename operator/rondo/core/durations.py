"""Lengths of time as Go writes them, and times as Kubernetes does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import durationpy

from rondo.core.conditions import timestamp


def parse_duration(text: str) -> timedelta:
    """Read a Go duration such as `1h30m`.

    Raises:
        ValueError: The text is not one.
    """
    try:
        return durationpy.from_str(text)
    except durationpy.DurationError as error:
        raise ValueError(f"{text!r} is not a duration such as 90s or 1h30m") from error


def format_duration(length: timedelta) -> str:
    """Write a length of time in whole seconds for messages, such as `1h30m` or `45s`."""
    return durationpy.to_str(timedelta(seconds=int(length.total_seconds()))) or "0s"


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time of the API, timezone-aware UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)


__all__ = ["format_duration", "parse_duration", "parse_time", "timestamp"]
