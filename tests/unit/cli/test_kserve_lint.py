"""Whatever is written of KServe's manifests, `rondo lint` finds nothing in it: shape, CEL rules, names, references."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given, settings

from rondo.cli import kserve, linter
from rondo.cli.manifests import parse
from tests.unit.kserve import test_graph, test_service
from tests.unit.kserve.builders import custom, graph, router, service, sklearn
from tests.unit.kserve.test_random import SERVICES, sensible

Json = Any

MANIFESTS: dict[str, list[Json]] = {
    **{f"graph: {name}": [case.content] for name, case in test_graph.CASES.items()},
    **{f"service: {name}": [service(predictor=case.predictor)] for name, case in test_service.CASES.items()},
    "a transformer and a graph": [
        service("cifar", predictor=sklearn(), transformer=custom()),
        graph(router("Sequence", {"serviceName": "cifar"})),
    ],
}


def findings_of(contents: list[Json]) -> list[str]:
    text = yaml.safe_dump_all(contents)
    result = kserve.translate(list(parse(text, "f.yaml")))
    found = linter.check(manifest for document in result.documents for manifest in parse(document.text, document.name))
    return [str(finding) for finding in found.findings]


@pytest.mark.parametrize("contents", MANIFESTS.values(), ids=MANIFESTS.keys())
def test_nothing_is_found(contents: list[Json]) -> None:
    assert findings_of(contents) == []


@settings(max_examples=50, deadline=None)
@given(sensible(), SERVICES)
def test_nothing_is_found_in_any(content: Json, other: Json) -> None:
    assert findings_of([content, other]) == []
