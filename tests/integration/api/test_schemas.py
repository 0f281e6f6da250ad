"""What the API server and kubectl make of the schemas."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import pytest

from rondo.api.kinds import KINDS, PLANNED
from tests.integration.api.conftest import Api
from tests.integration.api.objects import Body, approval, env, gate, graph, job, model_deployment, node, pipeline, run

ALL = (*KINDS, *PLANNED)


def test_every_crd_is_established_and_structural(api: Api) -> None:
    crds = json.loads(api.kubectl("get", "crd", "-o", "json"))["items"]
    conditions = {
        crd["metadata"]["name"]: {each["type"]: each["status"] for each in crd["status"]["conditions"]}
        for crd in crds
        if crd["spec"]["group"] == "rondo.dev"
    }
    assert conditions == {kind.crd_name: {"NamesAccepted": "True", "Established": "True"} for kind in ALL}


def test_kinds_have_their_names_and_category(api: Api) -> None:
    listed = api.kubectl("api-resources", "--categories=rondo", "--no-headers").splitlines()
    found = {line.split()[0]: line.split() for line in listed}
    assert found.keys() == {kind.plural for kind in ALL}
    assert all(kind.short[0] in found[kind.plural][1].split(",") for kind in ALL if kind.short)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("pipeline", "From data to production"),
        ("pipeline.spec.stages", "their order in the list means nothing"),
        ("pipeline.spec.stages.job.shm", "Size of /dev/shm"),
        ("pipelinerun.spec.pipeline.spec.stages.gate.checks.expression", "CEL over params, stages and run"),
        ("modeldeployment.spec.model.uri", "pvc://CLAIM/PATH"),
        ("modelruntime.spec.allow", "What a ModelDeployment may change"),
    ],
)
def test_kubectl_explains_fields(api: Api, path: str, words: str) -> None:
    # Descriptions are wrapped on the screen.
    assert words in re.sub(r"\s+", " ", api.kubectl("explain", path, "--api-version=rondo.dev/v1alpha1"))


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (pipeline(job(), stage=[]), 'unknown field "spec.stage"'),
        (pipeline({**job(), "need": ["b"]}), 'unknown field "spec.stages[0].need"'),
        (pipeline(job(imagePullPolicy="Always")), 'unknown field "spec.stages[0].job.imagePullPolicy"'),
        (pipeline({**job(), "needs": "b"}), "spec.stages[0].needs: Invalid value"),
        (pipeline({**job(), "needs": ["b", "b"]}), "spec.stages[0].needs[1]: Duplicate value"),
        (pipeline(job(), gate("a")), "spec.stages[1]: Duplicate value"),
        (pipeline({**job(), "name": "Train"}), "spec.stages[0].name in body should match"),
        (pipeline({**job(), "name": "x" * 41}), "spec.stages[0].name: Too long"),
        (pipeline(timeout="1d"), "spec.timeout in body should match"),
        (pipeline(run={"trigger": "change"}), 'spec.run.trigger: Unsupported value: "change"'),
        (pipeline(params=[{"name": "n", "type": "int"}]), 'spec.params[0].type: Unsupported value: "int"'),
        (pipeline(params=[{"name": "n", "minimum": "1"}]), "spec.params[0].minimum in body must be of type number"),
        (pipeline(*[{**job(), "name": f"s{n}"} for n in range(201)]), "spec.stages: Too many: 201"),
        (pipeline({**job(), "needs": [f"s{n}" for n in range(33)]}), "spec.stages[0].needs: Too many: 33"),
        (pipeline(job(env=[{"value": "v"}])), "spec.stages[0].job.env[0].name: Required value"),
        (model_deployment(runtime="r", model={"uri": "s3://b/m"}), "spec.model.uri in body should match"),
        (model_deployment(runtime="r", replicas=-1), "spec.replicas in body should be greater than or equal to 0"),
        (graph(node(target={"kind": "Pod", "name": "p"})), 'spec.nodes[0].target.kind: Unsupported value: "Pod"'),
        (approval(decision="Maybe"), 'spec.decision: Unsupported value: "Maybe"'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_does_not_fit_is_refused_by_its_path(api: Api, body: Body, words: str) -> None:
    assert words in api.refusal(body)


def test_defaults_are_filled_in_where_people_see_them(api: Api) -> None:
    made = api.create(pipeline({**job(), "retry": {"limit": 1}}, params=[{"name": "n"}]), dry_run=True)
    spec = made["spec"]
    assert spec["run"] == {"trigger": "Change", "readiness": "Run"}
    assert spec["history"] == {"successful": 3, "failed": 3}
    assert spec["params"] == [{"name": "n", "type": "string"}]
    assert spec["stages"][0]["retry"] == {"limit": 1, "backoff": "10s", "maxBackoff": "10m", "maxDisruptions": 20}


@pytest.mark.parametrize(
    "body", [pipeline(), run(), model_deployment(), graph(node()), approval()], ids=lambda b: b["kind"]
)
def test_a_fresh_object_says_that_nobody_has_looked_at_it(api: Api, body: Body) -> None:
    """Without it `kubectl wait`, Flux and Helm take an object that no operator has seen for done."""
    assert api.create(body, dry_run=True)["status"] == {"observedGeneration": -1}


def test_values_of_any_type_keep_it(api: Api) -> None:
    values: dict[str, Any] = {"a": 1, "b": 0.5, "c": "text", "d": [1, "x", None], "e": {"f": {"g": True}}}
    made = api.create(pipeline(run={"params": values}), dry_run=True)
    assert made["spec"]["run"]["params"] == values


def test_the_largest_pipeline_is_taken(api: Api) -> None:
    """200 stages of 32 needs, each with the longest names: no rule costs more than the API server grants."""
    names = [f"{n:03}-{'x' * 36}" for n in range(200)]
    variables = [{**env(secretKeyRef={"name": "s", "key": "k"}), "name": f"V{n}"} for n in range(8)]
    stages = [
        {**job(env=variables), "name": name, "needs": [other for other in names if other != name][:32]}
        for name in names
    ]
    body = pipeline(*stages)
    assert len(json.dumps(body)) > 400_000
    assert len(api.create(body, dry_run=True)["spec"]["stages"]) == 200
    embedded = run()
    embedded["spec"] = {"pipeline": {"spec": body["spec"]}}
    api.create({**embedded, "metadata": {"name": "largest"}})
    # A rule about changes compares all of it.
    api.patch({**embedded, "metadata": {"name": "largest"}}, {"metadata": {"labels": {"seen": "yes"}}})


def test_a_deployment_scales_by_its_subresource(api: Api) -> None:
    body = model_deployment(f"scaled{uuid.uuid4().hex[:8]}")
    api.create(body)
    name = body["metadata"]["name"]
    api.patch(body, {"status": {"replicas": 1, "selector": "a=b"}}, status=True)
    api.kubectl("scale", "modeldeployment", name, "--replicas=3")
    scale = json.loads(
        api.kubectl(
            "get", "--raw", f"/apis/rondo.dev/v1alpha1/namespaces/{api.namespace}/modeldeployments/{name}/scale"
        )
    )
    assert scale["spec"] == {"replicas": 3}
    assert scale["status"] == {"replicas": 1, "selector": "a=b"}


def test_columns_tell_how_a_run_is_going(api: Api) -> None:
    body = run(f"shown{uuid.uuid4().hex[:8]}")
    api.create(body)
    succeeded = {
        "type": "Succeeded",
        "status": "Unknown",
        "reason": "Running",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    status = {"conditions": [succeeded], "progress": "3/6", "message": "3/6 stages done; train running"}
    api.patch(body, {"status": status}, status=True)
    heading, row = api.kubectl("get", "pipelinerun", body["metadata"]["name"]).splitlines()
    assert heading.split() == ["NAME", "SUCCEEDED", "REASON", "STAGES", "MESSAGE", "AGE"]
    assert re.split(r"\s{2,}", row)[1:-1] == ["Unknown", "Running", "3/6", "3/6 stages done; train running"]


def test_runs_of_a_pipeline_are_found_by_field(api: Api) -> None:
    body = run(f"found{uuid.uuid4().hex[:8]}")
    body["spec"]["pipeline"]["name"] = "only-here"
    api.create(body)
    found = api.kubectl("get", "pipelineruns", "--field-selector=spec.pipeline.name=only-here", "-o", "name")
    assert found.split() == [f"pipelinerun.rondo.dev/{body['metadata']['name']}"]
