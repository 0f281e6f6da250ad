#!/usr/bin/env python3
"""Ask a deployed model to read handwritten digits, and show them.

Sends the request of `request.json`, ten digits from the part that was held out from training, to a server of the Open
Inference Protocol v2 and prints each picture beside the answer:

    python3 predict.py http://127.0.0.1:8080

Exit code 0 if the model answered for every picture, 1 if not. The standard library only.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

SHADES = " .:-=+*#%@"
BRIGHTEST = 16
SIDE = 8


class NoAnswerError(Exception):
    """The server did not answer as the protocol says; the message tells what it did."""


def infer(url: str, model: str, request: dict[str, Any], *, timeout: float) -> list[int]:
    """Send a request and give the model's answers, one an image.

    Args:
        url: Address of the server, without a path.
        model: Name of the model.
        request: An inference request of the Open Inference Protocol v2.
        timeout: Seconds to wait for the answer.

    Raises:
        NoAnswerError: No server, an error, or an answer of another shape.
    """
    address = f"{url.rstrip('/')}/v2/models/{model}/infer"
    headers = {"Content-Type": "application/json"}
    call = urllib.request.Request(address, json.dumps(request).encode(), headers)  # noqa: S310 (the user's own URL)
    answer: Any = None
    try:
        with urllib.request.urlopen(call, timeout=timeout) as response:  # noqa: S310
            answer = json.load(response)
        return [int(digit) for digit in answer["outputs"][0]["data"]]
    except urllib.error.HTTPError as error:
        raise NoAnswerError(f"{address} answered {error.code}: {error.read(500).decode(errors='replace')}") from error
    except (OSError, ValueError) as error:
        raise NoAnswerError(f"{address}: {error}") from error
    except (KeyError, IndexError, TypeError) as error:
        raise NoAnswerError(f"{address} gave no list of outputs: {str(answer)[:500]}") from error


def draw(pixels: Sequence[float]) -> list[str]:
    """Draw a picture of 8x8 pixels, 0 to 16, as lines; each pixel is two characters wide, as characters are tall."""
    shades = [SHADES[round(pixel / BRIGHTEST * (len(SHADES) - 1))] * 2 for pixel in pixels]
    return ["".join(shades[row : row + SIDE]) for row in range(0, SIDE * SIDE, SIDE)]


def beside(pictures: Iterable[list[str]], captions: Iterable[str]) -> str:
    """Put pictures beside one another, each above its caption."""
    columns = [[*lines, caption.center(2 * SIDE)] for lines, caption in zip(pictures, captions, strict=True)]
    return "\n".join("  ".join(row).rstrip() for row in zip(*columns, strict=True))


def show(images: Sequence[Sequence[float]], answers: Sequence[int], truth: Sequence[int]) -> str:
    """Give the text that shows pictures with their answers, five a row, and how many answers are right."""
    captions = [
        f"{answer}" if answer == digit else f"{answer} (it is {digit})"
        for answer, digit in zip(answers, truth, strict=True)
    ]
    rows = [
        beside(map(draw, images[start : start + 5]), captions[start : start + 5]) for start in range(0, len(images), 5)
    ]
    right = sum(answer == digit for answer, digit in zip(answers, truth, strict=True))
    return "\n\n".join([*rows, f"{right} of {len(truth)} right"])


def main() -> int:
    """Run the command and give its exit code."""
    parser = argparse.ArgumentParser(description="Ask a deployed model to read handwritten digits.")
    parser.add_argument("url", help="address of the server, such as http://127.0.0.1:8080")
    parser.add_argument("--model", default="digits", help="name of the model")
    parser.add_argument("--request", type=Path, default=Path(__file__).with_name("request.json"))
    parser.add_argument("--count", type=int, default=10, help="number of pictures, at most those of the request")
    parser.add_argument("--timeout", type=float, default=30, help="seconds to wait for the answer")
    arguments = parser.parse_args()
    request = json.loads(arguments.request.read_text())
    images, truth = request["inputs"][0]["data"][: arguments.count], request["parameters"]["digits"][: arguments.count]
    request["inputs"][0] |= {"data": images, "shape": [len(images), SIDE * SIDE]}
    try:
        answers = infer(arguments.url, arguments.model, request, timeout=arguments.timeout)
    except NoAnswerError as error:
        print(f"no prediction: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if len(answers) != len(images):
        print(f"{len(images)} pictures were sent, {len(answers)} answers came", file=sys.stderr)  # noqa: T201
        return 1
    print(show(images, answers, truth))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
