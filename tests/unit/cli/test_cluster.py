"""What is made of the API server's answers, and of kubeconfigs."""

from __future__ import annotations

import json

import pytest

from rondo.cli.cluster import Reply

WHY: dict[str, tuple[bytes, str]] = {
    "the API server's words": (json.dumps({"kind": "Status", "message": "no\nsuch pod"}).encode(), "no such pod"),
    "other JSON": (b"[1]", "[1]"),
    "no JSON": (b"<html>\n bad\n</html>", "<html> bad </html>"),
    "a whole page": (b"bad gateway " * 1000, "bad gateway " * 25 + "... (11999 characters)"),
    "many words of the API server": (json.dumps({"message": "x" * 1000}).encode(), "x" * 300 + "... (1000 characters)"),
}


@pytest.mark.parametrize(("body", "want"), WHY.values(), ids=WHY.keys())
def test_a_refusal_is_one_line_of_some_length(body: bytes, want: str) -> None:
    assert Reply(502, {}, body).why == want
