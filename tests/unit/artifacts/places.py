"""A claim in a temporary folder, as tests of artifacts use it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rondo.artifacts.command import TERMINATION_LOG, run
from rondo.artifacts.config import VARIABLE, Config, Input, Output
from rondo.artifacts.errors import ExitCode

NOBODY = 65532


@dataclass
class Place:
    """A folder with a claim `store` and a user's folder `out`."""

    root: Path

    def __post_init__(self) -> None:
        self.claim.mkdir()
        self.out.mkdir()
        for folder in (self.claim, self.out):
            folder.chmod(0o777)
        self.log.touch()
        self.log.chmod(0o666)

    @property
    def claim(self) -> Path:
        return self.root / "claim"

    @property
    def out(self) -> Path:
        return self.root / "out"

    @property
    def log(self) -> Path:
        return self.root / "termination-log"

    def environment(self, **config_fields: Any) -> dict[str, str]:
        config = Config(claims={"store": str(self.claim)}, **config_fields)
        return {VARIABLE: config.to_json(), TERMINATION_LOG: str(self.log)}

    def output(self, name: str = "model") -> Output:
        return Output(name=name, path=str(self.out / name), uri=f"pvc://store/runs/1/{name}")

    def push(self, *names: str) -> tuple[ExitCode, str]:
        """Store outputs in this process; give the exit code and the termination message."""
        outputs = tuple(self.output(name) for name in names or ("model",))
        return run("push", self.environment(outputs=outputs)), self.log.read_text()

    def verify(self, *inputs: Input) -> tuple[ExitCode, str]:
        return run("verify", self.environment(inputs=inputs)), self.log.read_text()

    def stored(self, name: str = "model") -> Path:
        return self.claim / "runs" / "1" / name

    def manifest(self, name: str = "model") -> dict[str, Any]:
        fields: dict[str, Any] = json.loads((self.claim / "runs" / "1" / f"{name}.rondo.json").read_text())
        return fields


@contextlib.contextmanager
def without_rights() -> Iterator[None]:
    """Run as a user whom file modes bind, also where the tests run as root."""
    if os.geteuid() != 0:
        yield
        return
    groups = os.getgroups()
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, 0)
    os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)
        os.setgroups(groups)
