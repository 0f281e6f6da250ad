"""Conditions of gjson as CEL, against what gjson itself says.

`gjson.json` was recorded with gjson v1.18.0, the version that KServe uses: for each condition whether it exists in each
document, in their order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rondo.core.expressions import compile_expression, evaluate
from rondo.kserve.conditions import translate
from rondo.kserve.gjson import ConditionError

RECORDED: dict[str, Any] = json.loads(Path(__file__).with_name("gjson.json").read_text())

DIFFERENT = {
    ("[@this].#(outputs.0.data.0>=0.5)", 14),
    ("instances.#(intval<=3)", 2),
    ("#(>2)", 9),
}
"""A string compared with a number by < and the like, which gjson compares as texts: condition and document."""


@pytest.mark.parametrize("condition", RECORDED["conditions"])
def test_is_true_where_the_path_exists(condition: str) -> None:
    written = translate(condition, "request.body")
    found = [evaluate(written, {"request": {"body": each}}) for each in RECORDED["documents"]]
    said = [mark == "x" for mark in RECORDED["conditions"][condition]]
    want = [exists and (condition, index) not in DIFFERENT for index, exists in enumerate(said)]
    assert found == want


WRITTEN = {
    "[@this].#(source==client)": "type(b) == map && has(b.source) && b.source == 'client'",
    '[@this].#(predictions.0=="dog")': "type(b) == map && has(b.predictions) && type(b.predictions) == list"
    " && size(b.predictions) > 0 && b.predictions[0] == 'dog'",
    "instances.#(intval>10)": "type(b) == map && has(b.instances) && type(b.instances) == list"
    " && b.instances.exists(e, type(e) == map && has(e.intval) && type(e.intval) == double && e.intval > 10.0)",
    "predictions.#": "type(b) == map && has(b.predictions) && type(b.predictions) == list",
    "[@this].#(n.#>=2)": "type(b) == map && has(b.n) && type(b.n) == list && double(size(b.n)) >= 2.0",
    "a b.in": "type(b) == map && 'a b' in b && type(b['a b']) == map && 'in' in b['a b']",
    "[@this].#(a==it's)": "type(b) == map && has(b.a) && b.a == 'it\\'s'",
    '[@this].#(a%"x.*\\\\*?")': "type(b) == map && has(b.a) && type(b.a) == string"
    " && b.a.matches('(?s)^x\\\\..*\\\\*.$')",
    "[@this].#(a)#": "true",
    "@this": "true",
}


@pytest.mark.parametrize(("condition", "want"), WRITTEN.items())
def test_is_written_as_a_person_would(condition: str, want: str) -> None:
    assert translate(condition, "b") == want
    compile_expression(want)


REFUSED = {
    "{ .input.userId == 1 }": "only [@this] at its beginning is translated",
    "[a,b]": "only [@this] at its beginning is translated",
    "a.@reverse": "the modifier @reverse is not translated",
    "pre*.x": "a wildcard in a name (pre*) is not translated",
    "a.#(b==1": "a query is not closed",
    'a.#(b=="x)': "a quote is not closed",
    "a.#(b==~true)": "comparing with ~true is not translated",
    "a.#[b==1]": "after # there is a dot or a query in parentheses",
    "a.#(b)#|#": "a pipe (|) after # is not translated",
    "a..b": "there is an empty name",
    "a.": "ends with '.'",
    ".a": "there is an empty name",
    "a.#()": "an empty query #() is not translated",
    "a.#(b.#(c==1)#==1)": "a query for all elements (#(...)#) within a query",
    "a.#(b.#.c==1)": "each element (#.) is not compared with anything",
    "!true": "a literal (!) is not translated",
    "a.#(b)x": "cannot follow",
    "a.#([@this].b)": "[@this] within a query is not translated",
    "a.#(b==(1])": "closes nothing",
}


@pytest.mark.parametrize(("condition", "why"), REFUSED.items())
def test_says_what_it_does_not_translate(condition: str, why: str) -> None:
    with pytest.raises(ConditionError) as raised:
        translate(condition, "request.body")
    assert why in str(raised.value)
