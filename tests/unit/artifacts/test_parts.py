"""How files are cut into parts, and what a store calls the outcome."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rondo.artifacts import parts
from rondo.artifacts.errors import ArtifactError

MIB = 1 << 20


@pytest.mark.parametrize("size", [0, 1, 8 * MIB, 8 * MIB + 1, 80_000 * MIB, 500_000 * MIB, parts.MAX_FILE])
def test_every_size_fits_into_ten_thousand_parts_and_into_memory(size: int) -> None:
    part = parts.part_size(size)
    assert part >= 5 * MIB
    assert size <= part * 10_000
    assert part * (parts.parts_at_once(part) + 1) <= 128 * MIB


def test_a_file_that_is_too_large_is_refused_with_the_limit() -> None:
    with pytest.raises(ArtifactError, match=f"may have {parts.MAX_FILE:,}: split it"):
        parts.part_size(parts.MAX_FILE + 1)


def test_a_small_file_is_called_by_its_md5(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    got = parts.sum_up(tmp_path / "f", 3)
    assert got == parts.Content(3, hashlib.sha256(b"abc").hexdigest(), "900150983cd24fb0d6963f7d28e17f72")


@pytest.mark.parametrize("size", [8 * MIB + 1, 16 * MIB, 16 * MIB + MIB // 2])
def test_a_large_file_is_called_by_the_md5s_of_its_parts(tmp_path: Path, size: int) -> None:
    content = b"0123456789abcdef" * (size // 16) + b"x" * (size % 16)
    (tmp_path / "f").write_bytes(content)
    cut = [content[start : start + 8 * MIB] for start in range(0, size, 8 * MIB)]
    md5s = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in cut)
    want = f"{hashlib.md5(md5s, usedforsecurity=False).hexdigest()}-{len(cut)}"
    assert parts.sum_up(tmp_path / "f", size) == parts.Content(size, hashlib.sha256(content).hexdigest(), want)
