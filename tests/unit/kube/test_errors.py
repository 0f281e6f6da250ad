"""Errors of the API are translated once, whatever shape an answer has."""

from __future__ import annotations

from typing import Any

import pytest

from rondo.kube.errors import MESSAGE_LIMIT, from_status, unreachable

STATUS = {"kind": "Status", "code": 409, "reason": "AlreadyExists", "message": 'jobs "x" already exists'}


@pytest.mark.parametrize(
    ("code", "body", "want"),
    [
        (404, {"code": 404, "reason": "NotFound", "message": "no"}, {"not_found"}),
        (409, STATUS, {"already_exists"}),
        (409, {"code": 409, "reason": "Conflict", "message": "modified"}, {"conflict"}),
        (410, {"code": 410, "reason": "Expired", "message": "too old"}, {"gone"}),
        (403, {"code": 403, "reason": "Forbidden", "message": "no"}, set()),
    ],
)
def test_what_code_branches_on(code: int, body: Any, want: set[str]) -> None:
    error = from_status(code, body)
    assert {name for name in ("not_found", "already_exists", "conflict", "gone") if getattr(error, name)} == want


@pytest.mark.parametrize("body", [None, [], {}, {"message": ""}, {"code": None}, {"code": "x"}])
def test_a_proxys_answer_is_an_error_too(body: Any) -> None:
    error = from_status(502, body)
    assert (error.code, error.reason) == (502, "HTTP502")


def test_a_text_is_what_is_said() -> None:
    error = from_status(503, "<html>upstream is busy</html>")
    assert (error.code, error.message) == (503, "<html>upstream is busy</html>")


def test_the_code_in_the_body_wins_because_watches_send_errors_with_200() -> None:
    assert from_status(200, {"code": 410, "reason": "Expired", "message": "too old"}).gone


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7.0), (None, None), ("", None), ("Wed, 21 Oct 2026 07:28:00 GMT", None)]
)
def test_retry_after_is_seconds(header: str | None, seconds: float | None) -> None:
    assert from_status(429, {}, header).retry_after == seconds


def test_messages_are_bounded() -> None:
    assert len(from_status(422, {"message": "x" * 10_000}).message) == MESSAGE_LIMIT


def test_no_answer_is_said_so() -> None:
    error = unreachable(TimeoutError())
    assert (error.code, error.reason, error.message) == (0, "Unreachable", "TimeoutError")
