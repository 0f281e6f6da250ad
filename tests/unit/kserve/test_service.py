"""InferenceServices as ModelDeployments, and what stands beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from rondo.api.modelgraph import TargetKind
from rondo.api.modelruntime import Allowed, Protocol
from rondo.kserve.importer import import_all
from rondo.kserve.inferenceservice import FRAMEWORKS
from rondo.kserve.runtimes import PRESETS
from rondo.kserve.service import describe_service, import_service
from rondo.kserve.services import Service
from tests.unit.kserve.builders import custom, graph, router, service, sklearn

Json = Any

RUNTIMES = Path(__file__).resolve().parents[3] / "charts" / "rondo" / "runtimes"
STORAGE = {"name": "STORAGE_URI", "value": "pvc://models/own"}
V2_MODEL = {"model": {"uri": "pvc://models/iris/1"}, "runtime": "sklearn"}


@dataclass(frozen=True)
class Case:
    """A predictor.

    Attributes:
        predictor: KServe's.
        spec: That of the ModelDeployment.
        notes: Parts of what is said, in order; nothing else is said.
    """

    predictor: Json
    spec: Json
    notes: list[str] = field(default_factory=list)


def old(name: str, **fields: Json) -> Json:
    return {name: {"storageUri": "pvc://c/p", **fields}}


def server(**fields: Json) -> Json:
    """Give the spec of a server in place, as it is written for `custom`."""
    return {
        "model": {"uri": "pvc://models/own"},
        "server": {
            "image": "x:1",
            "ports": [{"name": "http", "containerPort": 8080}],
            "readinessProbe": {"tcpSocket": {"port": "http"}},
            "protocol": "KServeV1",
            **fields,
        },
        "replicas": 1,
    }


NO_RIGHTS = "its pods run as user 65532 without rights"

CASES = {
    "a model": Case(sklearn(), {**V2_MODEL, "replicas": 1}),
    "a model with what its pod needs": Case(
        {
            **sklearn(minReplicas=2, maxReplicas=2, nodeSelector={"a": "b"}, tolerations=[{"key": "gpu"}]),
            "model": {
                **sklearn()["model"],
                "env": [{"name": "A", "value": "b"}],
                "resources": {"limits": {"nvidia.com/gpu": 1}},
            },
        },
        {
            **V2_MODEL,
            "env": [{"name": "A", "value": "b"}],
            "resources": {"limits": {"nvidia.com/gpu": 1}},
            "nodeSelector": {"a": "b"},
            "tolerations": [{"key": "gpu"}],
            "replicas": 2,
        },
    ),
    "clients of v1": Case(
        {"sklearn": {"storageUri": "s3://bucket/iris"}},
        {"model": {"uri": "s3://bucket/iris"}, "runtime": "sklearn", "replicas": 1},
        [
            "sklearn.protocolVersion: clients speak KServeV1, ModelRuntime sklearn OpenInference",
            "sklearn.storageUri: KServe takes the keys from the Secret of the ServiceAccount",
        ],
    ),
    "KServe's own runtime": Case(
        {"model": {**sklearn()["model"], "runtime": "kserve-sklearnserver", "args": ["--model_name=x"]}},
        {**V2_MODEL, "replicas": 1},
        ["model.runtime: kserve-sklearnserver is KServe's; here", "model.args: they are those of KServe's server"],
    ),
    "a runtime of the platform team": Case(
        {"model": {**sklearn()["model"], "runtime": "ours", "args": ["-v"], "runtimeVersion": "2", "image": "y"}},
        {**V2_MODEL, "runtime": "ours", "args": ["-v"], "replicas": 1},
        [
            "model.runtime: no ModelRuntime ours comes with Rondo",
            "model.image: is ModelRuntime ours's",
            "model.runtimeVersion: the image of ModelRuntime ours says the version",
        ],
    ),
    "a format without a preset": Case(
        old("onnx"),
        {"model": {"uri": "pvc://c/p"}, "runtime": "onnx", "replicas": 1},
        ["onnx.modelFormat: no ModelRuntime onnx comes with Rondo"],
    ),
    "a place that is not read": Case(
        sklearn("gs://examples/iris"),
        {"runtime": "sklearn", "replicas": 1},
        ["storageUri: gs://examples/iris is not read: copy it to a claim or a bucket of S3"],
    ),
    "a claim without a path": Case(
        sklearn("pvc://models"),
        {"runtime": "sklearn", "replicas": 1},
        ["storageUri: pvc://models is not read: name claim or bucket and a path in it"],
    ),
    "no place, but storage": Case(
        {
            "model": {
                "modelFormat": {"name": "sklearn", "version": "1"},
                "protocolVersion": "v2",
                "storage": {"key": "k"},
            }
        },
        {"runtime": "sklearn", "replicas": 1},
        [
            "model.storage: storage of KServe's own configuration is not read",
            "model.storageUri: there is no storageUri",
            "model.modelFormat.version: has no counterpart",
        ],
    ),
    "scaling": Case(
        sklearn(minReplicas=0, maxReplicas=4, scaleTarget=10, scaleMetric="concurrency"),
        {**V2_MODEL, "replicas": 1},
        [
            "minReplicas: nothing wakes a deployment that is scaled to zero",
            "maxReplicas: left out: scale by a HorizontalPodAutoscaler",
            "scaleTarget: has no counterpart",
            "scaleMetric: has no counterpart",
        ],
    ),
    "what has no counterpart": Case(
        sklearn(
            canaryTrafficPercent=10,
            timeout=60,
            logger={"mode": "all"},
            batcher={"maxBatchSize": 32},
            containerConcurrency=5,
            serviceAccountName="sa",
            affinity={"nodeAffinity": {}},
            workerSpec={"pipelineParallelSize": 2},
        ),
        {**V2_MODEL, "replicas": 1},
        [
            "canaryTrafficPercent: has no counterpart and is left out: pods are replaced one by one",
            "timeout: has no counterpart and is left out: the timeout of a ModelGraph",
            "logger: has no counterpart and is left out: payloads are not logged",
            "batcher: has no counterpart and is left out: a ModelGraph's batch",
            "containerConcurrency: has no counterpart",
            "serviceAccountName: has no counterpart",
            "affinity: has no counterpart",
            "workerSpec: has no counterpart and is left out: a model is served by pods of one node",
        ],
    ),
    "a container with a model": Case(custom(STORAGE), server(), [NO_RIGHTS]),
    "a container and its pod": Case(
        {
            **custom(
                STORAGE,
                {"name": "PROTOCOL", "value": "v2"},
                ports=[{"containerPort": 9000, "name": "http1"}],
                command=["serve"],
                livenessProbe={"httpGet": {"port": 9000}},
                resources={},
            ),
            "volumes": [{"name": "v", "emptyDir": {}}],
            "serviceAccountName": "sa",
            "affinity": {"nodeAffinity": {"x": 1}},
            "labels": {"team": "x"},
        },
        server(
            command=["serve"],
            env=[{"name": "PROTOCOL", "value": "v2"}],
            ports=[{"name": "http", "containerPort": 9000}],
            volumes=[{"name": "v", "emptyDir": {}}],
            serviceAccountName="sa",
            protocol="OpenInference",
            podTemplate={
                "metadata": {"labels": {"team": "x"}},
                "spec": {
                    "affinity": {"nodeAffinity": {"x": 1}},
                    "containers": [{"name": "main", "livenessProbe": {"httpGet": {"port": 9000}}}],
                },
            },
        ),
        [NO_RIGHTS],
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_becomes(case: Case) -> None:
    result = import_service(service(predictor=case.predictor))
    assert [str(problem) for problem in result.problems] == []
    (document,) = result.documents
    assert (document["kind"], document["spec"]) == ("ModelDeployment", case.spec)
    said = [str(note) for note in result.notes]
    assert [part for part, note in zip(case.notes, said, strict=True) if part not in note] == []


def test_a_service_as_the_cluster_gives_it() -> None:
    model = {
        **sklearn()["model"],
        "name": "kserve-container",
        "resources": {},
        "runtime": "kserve-mlserver",
    }
    content = service(predictor={"model": model, "minReplicas": 1})
    content["metadata"] |= {
        "finalizers": ["inferenceservice.finalizers"],
        "managedFields": [{"manager": "x"}],
        "resourceVersion": "5",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
    }
    content["status"] = {"url": "http://x"}
    result = import_service(content)
    assert result.documents[0]["metadata"] == {"name": "iris"}
    assert [note.path for note in result.notes] == ["spec.predictor.model.runtime"]


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_every_framework_names_its_format(name: str) -> None:
    result = import_service(service(predictor=old(name)))
    assert result.documents[0]["spec"]["runtime"] == name


def test_presets_are_those_of_the_chart() -> None:
    found = {}
    for file in RUNTIMES.glob("*.yaml"):
        content = yaml.safe_load(file.read_text())
        found[content["metadata"]["name"]] = (content["spec"]["protocol"], Allowed.ARGS in content["spec"]["allow"])
    assert {name: (preset.protocol.value, preset.args) for name, preset in PRESETS.items()} == found


def test_a_container_without_a_model_is_an_ordinary_deployment() -> None:
    predictor = {
        **custom(ports=[{"containerPort": 9000}]),
        "minReplicas": 2,
        "nodeSelector": {"a": "b"},
        "labels": {"team": "x"},
        "deploymentStrategy": {"type": "Recreate"},
    }
    result = import_service(service("own", predictor=predictor))
    deployment, plain = result.documents
    assert result.problems == ()
    assert [note.path for note in result.notes] == ["spec.predictor.containers"]
    assert deployment["spec"] == {
        "replicas": 2,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": {"app.kubernetes.io/name": "own"}},
        "template": {
            "metadata": {"labels": {"team": "x", "app.kubernetes.io/name": "own"}},
            "spec": {
                "containers": [
                    {
                        "name": "kserve-container",
                        "image": "x:1",
                        "ports": [{"containerPort": 9000}],
                        "readinessProbe": {"tcpSocket": {"port": 9000}},
                    }
                ],
                "nodeSelector": {"a": "b"},
            },
        },
    }
    assert plain["spec"] == {
        "selector": {"app.kubernetes.io/name": "own"},
        "ports": [{"name": "http", "port": 80, "targetPort": 9000}],
    }


def test_a_transformer_asks_its_predictor_itself() -> None:
    content = service("cifar", predictor={**sklearn(), "timeout": 30}, transformer=custom(args=["--model_name", "net"]))
    result = import_service(content)
    assert result.problems == ()
    model, between, transformer, plain = result.documents
    assert [each["metadata"]["name"] for each in result.documents] == [
        "cifar-model",
        "cifar-predictor",
        "cifar",
        "cifar",
    ]
    assert model["kind"] == "ModelDeployment"
    assert between["spec"] == {
        "protocol": "OpenInference",
        "entry": "model",
        "timeout": "30s",
        "nodes": [{"name": "model", "target": {"name": "cifar-model"}}],
    }
    (container,) = transformer["spec"]["template"]["spec"]["containers"]
    want = ["--model_name", "net", "--predictor_host", "cifar-predictor", "--http_port", "8080"]
    assert container["args"] == want
    assert plain["kind"] == "Service"
    assert {note.document for note in result.notes} == {1, 2}
    (limits,) = [note.message for note in result.notes if note.document == 1]
    assert "more than 4Mi that has to be read gets 413" in limits


@pytest.mark.parametrize(
    ("args", "want"),
    [([], "KServeV1"), (["--protocol", "v2"], "OpenInference"), (["--predictor_protocol=v2"], "OpenInference")],
)
def test_what_stands_between_speaks_what_the_transformer_does(args: list[str], want: str) -> None:
    result = import_service(service(predictor=old("triton"), transformer=custom(args=args)))
    assert result.documents[1]["spec"]["protocol"] == want


def test_a_transformer_in_the_same_pod_answers() -> None:
    beside = {"name": "transformer-container", "image": "t", "args": ["--http_port=8000"]}
    predictor = {"containers": [*custom()["containers"], beside]}
    deployment, plain = import_service(service(predictor=predictor)).documents
    first, second = deployment["spec"]["template"]["spec"]["containers"]
    assert (first["name"], first["ports"], second["name"]) == (
        "transformer-container",
        [{"containerPort": 8000}],
        "kserve-container",
    )
    assert plain["spec"]["ports"][0]["targetPort"] == 8000


def test_a_transformer_before_a_container_needs_no_graph() -> None:
    result = import_service(service("cifar", predictor=custom(), transformer=custom()))
    kinds = [(each["kind"], each["metadata"]["name"]) for each in result.documents]
    assert kinds == [("Deployment", "cifar-predictor"), ("Service", "cifar-predictor"), ("Deployment", "cifar"),
                     ("Service", "cifar")]  # fmt: skip


PROBLEMS = {
    "an explainer": ({"predictor": sklearn(), "explainer": {"art": {}}}, "spec.explainer: there are no explainers", 1),
    "gRPC": (
        {"predictor": {"model": {**sklearn()["model"], "protocolVersion": "grpc-v2"}}},
        "spec.predictor.model.protocolVersion: grpc-v2: a ModelDeployment is asked by HTTP",
        1,
    ),
    "a container of gRPC": (
        {"predictor": custom(ports=[{"containerPort": 9000, "name": "h2c"}])},
        "spec.predictor.containers[0].ports[0].name: h2c means gRPC: a ModelDeployment is asked by HTTP",
        2,
    ),
    "a container that speaks gRPC too": (
        {"predictor": custom(ports=[{"containerPort": 80}, {"containerPort": 9000, "name": "grpc-port"}])},
        "spec.predictor.containers[0].ports[1].name: grpc-port means gRPC",
        2,
    ),
    "a model by gRPC": (
        {"predictor": {"model": {**sklearn()["model"], "ports": [{"containerPort": 9000, "name": "h2c"}]}}},
        "spec.predictor.model.ports[0].name: h2c means gRPC",
        1,
    ),
    "containers beside a model": (
        {"predictor": {**sklearn(), **custom()}},
        "spec.predictor.containers: containers beside the model's server",
        1,
    ),
    "no predictor": ({}, "spec.predictor: there is no predictor", 0),
    "nothing that serves": ({"predictor": {"minReplicas": 1}}, "spec.predictor: there is neither a model (model,", 0),
    "no format": ({"predictor": {"model": {"storageUri": "pvc://c/p"}}}, "spec.predictor.model.modelFormat.name", 0),
    "a transformer without container": (
        {"predictor": sklearn(), "transformer": {"minReplicas": 1}},
        "spec.transformer: there is no container",
        2,
    ),
    "what the ModelDeployment does not take": (
        {"predictor": sklearn(tolerations=[{"taint": "x"}])},
        "spec: the ModelDeployment iris that it becomes is refused: spec.tolerations[0].taint: there is no such field",
        0,
    ),
}


@pytest.mark.parametrize(("spec", "want", "documents"), PROBLEMS.values(), ids=PROBLEMS.keys())
def test_cannot_be_expressed(spec: Json, want: str, documents: int) -> None:
    result = import_service(service(**spec))
    assert want in "\n".join(map(str, result.problems))
    assert len(result.documents) == documents


def test_notes_of_manifests_that_are_not_given_out_concern_none() -> None:
    refused = {"predictor": sklearn(tolerations=[{"taint": "x"}]), "transformer": custom()}
    result = import_service(service(**refused))
    assert result.documents == ()
    assert {note.document for note in result.notes} == {0}


DESCRIBED = {
    "a model of v1": (service(predictor=old("sklearn")), Service("iris")),
    "a model of v2": (service(predictor=sklearn()), Service("iris", protocol=Protocol.OPEN_INFERENCE)),
    "a container": (
        service(predictor=custom(args=["--model_name=x"])),
        Service("iris", TargetKind.SERVICE, Protocol.KSERVE_V1, "x"),
    ),
    "a container with a model": (service(predictor=custom(STORAGE)), Service("iris")),
    "a container of gRPC": (
        service(predictor=custom(ports=[{"name": "h2c", "containerPort": 9000}])),
        Service("iris", TargetKind.SERVICE, None),
    ),
    "a container that speaks gRPC too": (
        service(predictor=custom(ports=[{"containerPort": 80}, {"name": "grpc", "containerPort": 9000}])),
        Service("iris", TargetKind.SERVICE, Protocol.KSERVE_V1),
    ),
    "a transformer": (
        service(predictor=sklearn(), transformer=custom({"name": "PROTOCOL", "value": "v2"})),
        Service("iris", TargetKind.SERVICE, Protocol.OPEN_INFERENCE),
    ),
}


@pytest.mark.parametrize(("content", "want"), DESCRIBED.values(), ids=DESCRIBED.keys())
def test_graphs_know_services(content: Json, want: Service) -> None:
    assert describe_service(content) == want


def test_graphs_ask_services_of_their_own_namespace() -> None:
    asked = graph(router("Sequence", {"serviceName": "iris"}))
    here, there = service(predictor=custom()), service(predictor=custom())
    there["metadata"] |= {"namespace": "other"}
    alone, together = import_all([asked, there])[0], import_all([asked, here])[0]
    assert alone is not None
    assert together is not None
    assert alone.documents[0]["spec"]["nodes"][1]["target"] == {"name": "iris"}
    assert together.documents[0]["spec"]["nodes"][1]["target"]["kind"] == "Service"


def test_other_kinds() -> None:
    runtime, old_, pod, text = import_all([
        {"apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": "x"}},
        {"apiVersion": "serving.kubeflow.org/v1beta1", "kind": "InferenceService", "metadata": {"name": "x"}},
        {"apiVersion": "v1", "kind": "Pod"},
        "text",
    ])  # fmt: skip
    assert runtime is not None
    assert old_ is not None
    assert "InferenceService of serving.kubeflow.org/v1beta1 is not translated" in str(old_.problems[0])
    assert "ServingRuntime of serving.kserve.io/v1alpha1 is not translated" in str(runtime.problems[0])
    assert (pod, text) == (None, None)
