"""Any InferenceGraph and any InferenceService gives manifests that hold together, or says where it does not."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rondo.api.modeldeployment import ModelDeploymentSpec
from rondo.api.modelgraph import ModelGraphSpec
from rondo.core.expressions import compile_expression
from rondo.core.modelgraph import validation
from rondo.core.modelgraph.topology import Topology, edges
from rondo.kserve.findings import Imported
from rondo.kserve.importer import import_all
from tests.unit.kserve.builders import graph, service

Json = Any

WILD = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 200)
    | st.text(max_size=8)
    | st.sampled_from(["a", "root", "$response"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
"""What somebody may have written anywhere."""

NAMES = st.sampled_from(["root", "one", "two", "three"])
CONDITIONS = st.sampled_from([
    "x", "a.0", "a.#", "[@this].#(x==ERROR)", '[@this].#(predictions.0=="dog")', "a.#(b>=0.5)#", "a.#(b.#(c%x*)).d",
    "in.1a", "it's", "{.x}", "a.#(b", "*", "",
])  # fmt: skip


def keys(**fields: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """Objects with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


TARGETS = st.one_of(
    st.builds(lambda name: {"nodeName": name}, NAMES),
    st.builds(lambda name: {"serviceName": name}, st.sampled_from(["m", "n", "M_x", "in", "own"])),
    st.sampled_from(["http://h/x", "http://h:1/v1/models/m:predict", "ftp://h", "https://h/p?q"]).map(
        lambda url: {"serviceUrl": url}
    ),
)
MORE = keys(
    name=st.sampled_from(["s", "S_1", "1", "true", "__", "s" * 60]),
    data=st.sampled_from(["$request", "$response", "$response.predictions", ""]),
    dependency=st.sampled_from(["Hard", "Soft"]),
    condition=CONDITIONS,
    mapPredictionsToInstances=st.booleans(),
    weight=st.sampled_from([20, 50, 80, 100]),
)
STEPS = st.builds(lambda target, more: {**target, **more}, TARGETS, MORE)
ROUTERS = st.fixed_dictionaries(
    {
        "routerType": st.sampled_from(["Sequence", "Switch", "Splitter", "Ensemble"]),
        "steps": st.lists(STEPS, min_size=1, max_size=4),
    }
)
GRAPHS = st.builds(
    lambda root, nodes, more: {**graph(root, **nodes), "metadata": {"name": "g"}, **more},
    ROUTERS,
    st.dictionaries(NAMES.filter(lambda name: name != "root"), ROUTERS, max_size=3),
    keys(status=WILD, metadata=WILD),
)
WILD_GRAPHS = st.builds(
    lambda nodes, more: {**graph({}), "spec": {"nodes": nodes, **more}},
    st.dictionaries(NAMES, keys(routerType=WILD | st.just("Sequence"), steps=WILD | st.lists(WILD, max_size=3))),
    keys(timeout=WILD, routerTimeouts=WILD, minReplicas=WILD, maxReplicas=WILD, resources=WILD),
)
NODES = ("root", "one", "two", "three")
LIMITS = ("more than 100 nodes", "bytes", "comprehensions", "no step of the switch has a condition", "characters")
"""What may be too much of a graph that makes sense."""


@st.composite
def sensible(draw: st.DrawFn) -> Json:
    """Graphs in which all is right: routers ask later ones only, weights add up, conditions can be translated."""
    good = CONDITIONS.filter(lambda text: text not in {"{.x}", "a.#(b", "*"})
    routers = {}
    for index, name in enumerate(NODES):
        later = [st.builds(lambda to: {"nodeName": to}, st.sampled_from(NODES[index + 1 :]))] if index < 3 else []
        service_ = st.builds(lambda to: {"serviceName": to}, st.sampled_from(["m", "n", "own"]))
        url = st.just({"serviceUrl": "http://h:1/v1/models/m:predict"})
        steps = draw(
            st.lists(st.builds(lambda a, b: {**b, **a}, st.one_of(*later, service_, url), MORE), min_size=1, max_size=4)
        )
        weights = [100] if len(steps) == 1 else [40, *[60 // (len(steps) - 1)] * (len(steps) - 1)]
        for step, weight in zip(steps, weights, strict=True):
            step["weight"] = weight
            step["condition"] = draw(good)
        routers[name] = {
            "routerType": draw(st.sampled_from(["Sequence", "Switch", "Splitter", "Ensemble"])),
            "steps": steps,
        }
    return graph(routers.pop("root"), **routers)


CONTAINERS = keys(
    name=st.sampled_from(["kserve-container", "x"]), image=st.just("x"), args=WILD, env=WILD, ports=WILD, resources=WILD
)
COMPONENTS = keys(
    model=WILD | keys(modelFormat=WILD | st.just({"name": "sklearn"}), storageUri=st.just("pvc://c/p") | WILD),
    sklearn=WILD | keys(storageUri=st.sampled_from(["s3://bucket/x", "gs://b/x"]), args=WILD, env=WILD),
    containers=WILD | st.lists(CONTAINERS, max_size=2),
    minReplicas=WILD,
    maxReplicas=st.integers(0, 5),
    tolerations=WILD,
    volumes=WILD,
    labels=WILD,
    timeout=WILD,
)
SERVICES = st.builds(
    lambda name, components: service(name, **components),
    st.sampled_from(["own", "m", "Iris_1"]),
    keys(predictor=COMPONENTS | WILD, transformer=COMPONENTS, explainer=WILD),
)


def assert_sound(result: Imported | None, *, whole: bool) -> None:
    """See that what was written holds together, or that what is wrong has a place."""
    assert result is not None
    assert all(problem.path and problem.message for problem in result.problems)
    assert all(note.path and note.message and note.document < max(len(result.documents), 1) for note in result.notes)
    if whole:
        assert bool(result.documents) != bool(result.problems)
    for document in result.documents:
        if document["kind"] == "ModelDeployment":
            ModelDeploymentSpec.model_validate(document["spec"])
        if document["kind"] == "ModelGraph":
            assert_graph(ModelGraphSpec.model_validate(document["spec"]))


def assert_graph(spec: ModelGraphSpec) -> None:
    topology = Topology(spec)
    names = [node.name for node in spec.nodes]
    assert len(set(names)) == len(names)
    for name, node in topology.nodes.items():
        assert {edge.to for edge in edges(node, name)} <= topology.nodes.keys()
        for case in node.switch or ():
            assert case.when is not None
            compile_expression(case.when)
    assert topology.reachable == frozenset(names)
    assert validation.validate(spec) == []


@settings(max_examples=400, deadline=None)
@given(GRAPHS)
def test_any_graph(content: Json) -> None:
    assert_sound(import_all([content])[0], whole=True)


@settings(max_examples=300, deadline=None)
@given(sensible())
def test_any_graph_that_makes_sense_is_translated(content: Json) -> None:
    result = import_all([content])[0]
    assert_sound(result, whole=True)
    assert result is not None
    assert [str(each) for each in result.problems if not any(word in each.message for word in LIMITS)] == []


@settings(max_examples=200, deadline=None)
@given(WILD_GRAPHS)
def test_any_text_that_calls_itself_a_graph(content: Json) -> None:
    assert_sound(import_all([content])[0], whole=True)


@settings(max_examples=300, deadline=None)
@given(SERVICES, ROUTERS)
def test_any_service_and_a_graph_of_it(content: Json, root: Json) -> None:
    written, graph_ = import_all([content, graph(root)])
    assert_sound(written, whole=False)
    assert_sound(graph_, whole=True)
