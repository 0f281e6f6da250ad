"""The checks of a release: what is wrong with them as they are written, and which do not hold by now.

They compare numbers, so they need no loops; without loops an expression of 2 KiB over two maps of numbers takes
microseconds, and is evaluated where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from rondo.api.modelgraph import ModelGraphSpec
from rondo.api.release import Release, ReleaseCheck, ReleaseStrategy
from rondo.core import expressions
from rondo.core.conditions import shorten
from rondo.core.durations import parse_duration
from rondo.core.expressions import ExpressionError
from rondo.core.graph import nearest
from rondo.core.modelgraph.numbers import Comparison, Numbers
from rondo.core.modelgraph.scope import OF_MIRROR, OF_REQUEST
from rondo.core.problems import Problem

_NAMED: Final = re.compile(r"(?<![\w.])(new|old)\b(?:\s*\.\s*(\w+))?")
_FAST, _SLOW = Numbers(900, 1, 90, 89, {320: 900}), Numbers(100, 50, 10, 1, {400: 100})
_SAMPLES: Final = (Comparison(_SLOW, _FAST), Comparison(_FAST, _SLOW))

SHOWN: Final = 3
"""So many checks that do not hold are told; of the others how many there are."""

_WORDS_LIMIT: Final = 256
"""Characters that are told of one of them: a status is no place for expressions of 2 KiB."""


def find_problems(spec: ModelGraphSpec) -> Iterator[Problem]:
    """Find what is wrong with how a graph makes releases."""
    release = spec.release
    if release is None:
        return
    yield from _steps(release)
    for index, check in enumerate(release.checks):
        why = _why_wrong(check, release)
        if why:
            yield Problem(f"spec.release.checks[{index}].expression", why)
    for field, text, names in (
        ("sticky", release.sticky, OF_REQUEST[:1]),
        ("compare", release.compare, OF_MIRROR[:3]),
    ):
        why = _why_unknown(text, names) if text is not None else ""
        if why:
            yield Problem(f"spec.release.{field}", why)


def _steps(release: Release) -> Iterator[Problem]:
    shares = [step.weight or step.percent or 0 for step in release.steps]
    for index, (before, share) in enumerate(pairwise(shares), 1):
        if share <= before:
            yield Problem(f"spec.release.steps[{index}]", f"{share} after {before}: each step has to be larger")
    holds = sum(parse_duration(step.hold).total_seconds() for step in release.steps)
    if parse_duration(release.timeout).total_seconds() <= holds:
        yield Problem("spec.release.timeout", f"{release.timeout} is not longer than all steps together")


def sound(release: Release) -> list[ReleaseCheck]:
    """Give the checks that make sense: one that does not says nothing about answers."""
    return [check for check in release.checks if not _why_wrong(check, release)]


def _why_wrong(check: ReleaseCheck, release: Release) -> str:
    """Say what is wrong with a check, if anything."""
    text = check.expression
    why = _why_unknown(text, ("new", "old"))
    if why:
        return why
    if expressions.comprehension_depth(text):
        return "it loops; a check compares numbers and needs no all, exists, map or filter"
    compared = release.strategy is ReleaseStrategy.SHADOW and release.compare is not None
    known = {side: set(values) for side, values in _SAMPLES[0].variables(compared=True).items()}
    named = _named(text)
    for side, name in named:
        if name and name not in known[side]:
            return f"there is no {side}.{name}{nearest(name, known[side])}, only {', '.join(sorted(known[side]))}"
    if not compared and ("new", "agreement") in named:
        return "new.agreement is there in a Shadow with compare only"
    try:
        for sample in _SAMPLES:
            expressions.evaluate_bool(text, sample.variables(compared=compared))
    except ExpressionError as error:
        return str(error)
    return ""


def _named(text: str) -> list[tuple[str, str]]:
    """Give the versions that an expression names, each with what it reads of it; empty if that is all of it."""
    return _NAMED.findall(expressions.without_strings(text))


def _why_unknown(text: str, names: tuple[str, ...]) -> str:
    try:
        program = expressions.compile_expression(text)
    except ExpressionError as error:
        return str(error)
    known = {*names} | expressions.bound_in(text) | expressions.TYPES
    unknown = sorted({*program.variables()} - known)
    return f"there is no {unknown[0]} here, only {', '.join(names)}" if unknown else ""


def what_lacks(release: Release, seen: Comparison) -> str:
    """Say what is missing to judge a step by; empty if there were enough requests."""
    new, old = seen.new, seen.old
    needed = int(bool(release.checks)) if release.min_requests is None else release.min_requests
    if new.requests < needed:
        return f"{new.requests} of {needed} requests came to the new version"
    named = [name for check in release.checks for name in _named(check.expression)]
    if not old.requests and any(side == "old" for side, _ in named):
        return "no request came to the old version, and checks compare with it"
    # In whatever way it is written: new['agreement'] is the same.
    if not new.compared and any("agreement" in check.expression for check in release.checks):
        return "no answer was compared"
    return ""


def what_fails(release: Release, seen: Comparison) -> str:
    """Say which checks do not hold, with the numbers; empty if all do. A check without a value does not hold."""
    variables = seen.variables(compared=release.compare is not None)
    failed = [shorten(why, _WORDS_LIMIT) for check in release.checks if (why := _why_failed(check, variables))]
    if not failed:
        return ""
    rest = f"; and {len(failed) - SHOWN} more" if len(failed) > SHOWN else ""
    return f"{'; '.join(failed[:SHOWN])}{rest} ({seen.words(compared=release.compare is not None)})"


def _why_failed(check: ReleaseCheck, variables: dict[str, dict[str, float]]) -> str:
    try:
        if expressions.evaluate_bool(check.expression, variables):
            return ""
    except ExpressionError as error:
        return f"{check.expression}: {error}"
    return f"{check.message}: {check.expression}" if check.message else f"{check.expression} is false"
