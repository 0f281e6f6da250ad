"""Expressions that may take long, in a process of their own: it may be killed, and holds nobody's interpreter.

A planner's read of such an expression is answered at once, mostly by "not yet"; when the answer is there the key is
looked at again and finds it. So no worker waits, and whoever writes an expensive expression waits for it alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rondo.core.expressions import ExpressionError, evaluate
from rondo.core.plan import PENDING, Evaluate, Failure, ReadResult
from rondo.core.view import Key

LIMIT_SECONDS: Final = 1.0
LIMIT_BYTES: Final = 512 * 2**20
START_SECONDS: Final = 10.0
KEPT: Final = 1024
"""So many answers are kept; the same expression with the same values has the same answer for ever."""

log = logging.getLogger(__name__)


@dataclass
class Evaluator:
    """Evaluates one expression after another in a process that it starts when the first comes.

    Attributes:
        wake: Called with each key that waits for an answer once it is there.
        limit: Seconds that an expression may take.
    """

    wake: Callable[[Key], None]
    limit: float = LIMIT_SECONDS
    _answers: dict[Evaluate, ReadResult] = field(default_factory=dict)
    _waiting: dict[Evaluate, set[Key]] = field(default_factory=dict)
    _work: asyncio.Task[None] | None = None
    _process: asyncio.subprocess.Process | None = None

    def look(self, read: Evaluate, key: Key) -> ReadResult:
        """Give the answer if it is there, else have it made and the key woken."""
        if read in self._answers:
            return self._answers[read]
        self._waiting.setdefault(read, set()).add(key)
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._run())
        return _failure(PENDING, "it is being evaluated")

    async def close(self) -> None:
        """End the process."""
        if self._work is not None:
            self._work.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._work
        await self._kill()

    async def _run(self) -> None:
        while self._waiting:
            read = next(iter(self._waiting))
            answer = await self._evaluate(read)
            while len(self._answers) >= KEPT:
                del self._answers[next(iter(self._answers))]
            self._answers[read] = answer
            for key in self._waiting.pop(read):
                self.wake(key)

    async def _evaluate(self, read: Evaluate) -> ReadResult:
        try:
            process = await self._started()
            line = json.dumps({"text": read.text, "variables": read.variables}) + "\n"
            async with asyncio.timeout(self.limit):
                answer = await _ask(process, line)
        except TimeoutError:
            await self._kill()
            return _failure("ExpressionError", f"it takes longer than {self.limit:g} s: make it or its values smaller")
        except (OSError, EOFError) as error:
            log.warning("the process that evaluates expressions has ended: %s", error)
            await self._kill()
            return _failure("ExpressionError", "it needs more memory than it may have: make it or its values smaller")
        if "error" in answer:
            return _failure("ExpressionError", answer["error"])
        return ReadResult(datetime.now(UTC), answer["value"])

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None or self._process.returncode is not None:
            pipe = asyncio.subprocess.PIPE
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", __name__, stdin=pipe, stdout=pipe, limit=2**26
            )
            async with asyncio.timeout(START_SECONDS):
                await _ask(self._process, json.dumps({"text": "true", "variables": "{}"}) + "\n")
        return self._process

    async def _kill(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _ask(process: asyncio.subprocess.Process, line: str) -> dict[str, Any]:
    """Send a line and give the answer.

    Raises:
        OSError: The process takes nothing any more.
        EOFError: It has ended without an answer.
    """
    if process.stdin is None or process.stdout is None:
        raise EOFError("it has no pipes")
    process.stdin.write(line.encode())
    await process.stdin.drain()
    answer = await process.stdout.readline()
    if not answer:
        raise EOFError("no answer")
    found: dict[str, Any] = json.loads(answer)
    return found


def _failure(reason: str, message: str) -> ReadResult:
    now = datetime.now(UTC)
    return ReadResult(now, None, Failure(0, reason, message, now))


def main() -> None:
    """Answer each line of the input: `{"text": CEL, "variables": JSON}` by `{"value": …}` or `{"error": …}`."""
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT_BYTES, LIMIT_BYTES))
    with contextlib.suppress(OSError):
        # Should the container run out of memory, this process goes first and not the operator.
        Path("/proc/self/oom_score_adj").write_text("1000")
    for line in sys.stdin:
        question = json.loads(line)
        try:
            answer = {"value": evaluate(question["text"], json.loads(question["variables"]))}
        except ExpressionError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer, default=str) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
