"""Pauses between the tries of a reflector; what it does with a real API server is tested against one."""

from __future__ import annotations

import pytest

from rondo.kube.errors import ApiError
from rondo.kube.reflector import _pause


@pytest.mark.parametrize(("attempt", "longest"), [(0, 0.1), (1, 0.2), (4, 1.6), (9, 30.0), (1_000, 30.0)])
def test_pauses_grow_with_jitter_and_end_at_half_a_minute(attempt: int, longest: float) -> None:
    pauses = [_pause(ApiError(0, "Unreachable", "x"), attempt) for _ in range(50)]
    assert all(longest / 2 <= pause <= longest for pause in pauses)
    assert len(set(pauses)) > 1


def test_the_api_servers_wish_counts() -> None:
    assert _pause(ApiError(429, "TooManyRequests", "x", retry_after=3.0), 9) == 3.0
