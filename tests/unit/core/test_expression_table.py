"""The table of expressions that the router's tests run too: what each gives, or that it is an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rondo.core.expressions import ExpressionError, evaluate

TABLE: dict[str, Any] = json.loads((Path(__file__).parents[2] / "shared" / "expressions.json").read_text())


@pytest.mark.parametrize("row", TABLE["rows"], ids=[row["expression"] for row in TABLE["rows"]])
def test_an_expression_means_the_same_as_to_the_router(row: dict[str, Any]) -> None:
    variables = {"request": {"body": TABLE["body"]}}
    if "error" in row:
        with pytest.raises((ExpressionError, ValueError)):
            json.dumps(evaluate(row["expression"], variables), allow_nan=False)
    else:
        assert evaluate(row["expression"], variables) == row["value"]
