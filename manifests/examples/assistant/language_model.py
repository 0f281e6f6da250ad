#!/usr/bin/env python3
"""A language model as simple as can be: it writes the next word by the last few, as it has seen them follow each other.

    language_model.py train --small FILE --big FILE     trains on the topics of Python's own help
    language_model.py serve FILE                        serves a model by OpenAI's protocol, on port 8080

The small model looks back one word, the big one three. Needs FastAPI and uvicorn to serve, nothing to train.
"""

import argparse
import json
import os
import pickle
import random
import re
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|[0-9]+|[.,:;!?()]")
END = "."
SHORTEST = 5
"""Words of an answer, unless fewer are asked for."""
Model = dict[tuple[str, ...], dict[str, int]]


def words_of(text: str) -> list[str]:
    """Cut a text into words and marks."""
    return WORD.findall(text)


def train(words: list[str], length: int) -> Model:
    """Count which words follow every sequence of up to `length` words."""
    counts: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for at, word in enumerate(words):
        for back in range(min(length, at) + 1):
            counts[tuple(words[at - back : at])][word] += 1
    return {context: dict(found) for context, found in counts.items()}


def write(model: Model, length: int, prompt: str, *, limit: int, seed: int | None) -> Iterator[str]:
    """Go on after a prompt, word by word, until a sentence ends or there are `limit` words."""
    chance = random.Random(seed)  # noqa: S311 (words, not keys)
    words = words_of(prompt)
    for written in range(1, limit + 1):
        context = next(c for back in range(length, -1, -1) if (c := tuple(words[-back:] if back else ())) in model)
        found = model[context]
        word = chance.choices(list(found), weights=list(found.values()))[0]
        words.append(word)
        yield word if word in ".,:;!?)" else f" {word}"
        if word == END and written >= SHORTEST:
            return


def main_train(arguments: argparse.Namespace) -> None:
    """Train both models."""
    words = words_of("\n".join(topics.values()))
    for path, length in ((arguments.small, 1), (arguments.big, 3)):
        model = train(words, length)
        path.write_bytes(pickle.dumps({"length": length, "counts": model}))
        print(f"{path.name}: {len(model)} contexts of {len(words)} words")  # noqa: T201
    if results := os.environ.get("RONDO_RESULTS"):
        Path(results).write_text(json.dumps({"words": len(words)}))


def main_serve(arguments: argparse.Namespace) -> None:
    """Serve a model."""
    import uvicorn  # noqa: PLC0415 (not needed to train)
    from fastapi import FastAPI, Request, Response  # noqa: PLC0415
    from fastapi.responses import JSONResponse, StreamingResponse  # noqa: PLC0415

    saved = pickle.loads(arguments.model.read_bytes())  # noqa: S301 (our own file)
    app = FastAPI()

    @app.get("/v1/models")
    def models() -> Any:
        return {"object": "list", "data": [{"id": f"{saved['length']}-words", "object": "model"}]}

    @app.post("/v1/chat/completions")
    async def complete(request: Request) -> Response:
        asked = await request.json()
        limit = asked.get("max_tokens") or 40
        prompt = asked["messages"][-1]["content"]
        words = write(saved["counts"], saved["length"], prompt, limit=limit, seed=asked.get("seed"))
        base = {"id": f"chatcmpl-{uuid.uuid4().hex}", "created": int(time.time()), "model": f"{saved['length']}-words"}
        if asked.get("stream"):
            return StreamingResponse(events(base, words), media_type="text/event-stream")
        text = "".join(words)
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": ending(text)}
        return JSONResponse({**base, "object": "chat.completion", "choices": [choice]})

    uvicorn.run(app, host="0.0.0.0", port=8080, access_log=False)  # noqa: S104 (in a pod)


def ending(text: str) -> str:
    """Say why a text ended, in OpenAI's words."""
    return "stop" if text.endswith(END) else "length"


def events(base: dict[str, Any], words: Iterator[str]) -> Iterator[str]:
    """Give an answer as server-sent events, one a word."""
    last = ""
    for last in words:
        yield event(base, {"delta": {"content": last}, "finish_reason": None})
    yield event(base, {"delta": {}, "finish_reason": ending(last)})
    yield "data: [DONE]\n\n"


def event(base: dict[str, Any], choice: dict[str, Any]) -> str:
    """Write an event."""
    return f"data: {json.dumps({**base, 'object': 'chat.completion.chunk', 'choices': [{'index': 0, **choice}]})}\n\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A language model as simple as can be.")
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("train")
    command.add_argument("--small", type=Path, required=True)
    command.add_argument("--big", type=Path, required=True)
    command.set_defaults(run=main_train)
    command = commands.add_parser("serve")
    command.add_argument("model", type=Path)
    command.set_defaults(run=main_serve)
    given = parser.parse_args()
    given.run(given)
