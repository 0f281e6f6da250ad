"""Small pipelines, runs and models. An image names what the pod does: see pods.yaml."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rondo.api.base import API_VERSION

Body = dict[str, Any]


def job(name: str = "a", *needs: str, image: str = "succeeds", **fields: Any) -> Body:
    """Give a job stage."""
    return {"name": name, "job": {"image": image}, **({"needs": list(needs)} if needs else {}), **fields}


def gate(name: str, *needs: str, expression: str = "run.name != ''") -> Body:
    """Give a gate."""
    return {"name": name, "needs": list(needs), "gate": {"checks": [{"expression": expression}]}}


def deploy(name: str, *needs: str, model: str = "m", **spec: Any) -> Body:
    """Give a stage that deploys the model on the claim `models`."""
    return {"name": name, "needs": list(needs), "deploy": {"name": model, "spec": spec or MODEL}}


def chain(length: int, *after: str) -> list[Body]:
    """Give job stages `s0`, `s1`..., each of which needs the one before, and the first those given."""
    return [job(f"s{i}", *([f"s{i - 1}"] if i else after)) for i in range(length)]


def pipeline(name: str, *stages: Body, **spec: Any) -> Body:
    """Give a Pipeline."""
    return _thing("Pipeline", name, {"stages": list(stages), **spec})


def inline_run(name: str, *stages: Body, **spec: Any) -> Body:
    """Give a run of a pipeline that is written into it."""
    return _thing("PipelineRun", name, {"pipeline": {"spec": {"stages": list(stages), **spec}}})


def run_of(name: str, of: str, **params: Any) -> Body:
    """Give a run of a Pipeline."""
    return _thing("PipelineRun", name, {"pipeline": {"name": of}, **({"params": params} if params else {})})


def quota(**hard: int) -> Body:
    """Give a ResourceQuota named `quota`; `jobs=0` forbids every Job, `pods=0` every pod."""
    keys = {"jobs": "count/jobs.batch", "pods": "pods"}
    return _thing("ResourceQuota", "quota", {"hard": {keys[k]: str(v) for k, v in hard.items()}}, version="v1")


def foreign_job(name: str) -> Body:
    """Give a Job that belongs to nobody and holds."""
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "holds"}]}}
    return _thing("Job", name, {"template": template}, version="batch/v1")


def foreign_deployment(name: str) -> Body:
    """Give a Deployment that belongs to nobody."""
    labels = {"app": "foreign"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "foreign"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return _thing("Deployment", name, spec, version="apps/v1")


def foreign_service(name: str) -> Body:
    """Give a Service that belongs to nobody."""
    return _thing("Service", name, {"selector": {"app": "foreign"}, "ports": [{"port": 80}]}, version="v1")


def model_deployment(name: str, **spec: Any) -> Body:
    """Give a ModelDeployment of the model on the claim `models`."""
    return _thing("ModelDeployment", name, {**MODEL, **spec})


def graph(name: str, *nodes: Body, **spec: Any) -> Body:
    """Give a ModelGraph; the first node is its entry."""
    return _thing("ModelGraph", name, {"protocol": "JSON", "entry": nodes[0]["name"], "nodes": list(nodes), **spec})


def node(name: str, **fields: Any) -> Body:
    """Give a node."""
    return {"name": name, **fields}


def of_service(name: str, service: str = "") -> Body:
    """Give a node that asks the Service of its name, or another."""
    return node(name, target={"kind": "Service", "name": service or name, "port": 80})


def service(name: str) -> Body:
    """Give a Service whose endpoints the test writes."""
    return _thing("Service", name, {"ports": [{"port": 80}]}, version="v1")


def slice_of(name: str, *, ready: bool) -> Body:
    """Give the EndpointSlice of such a Service, with one endpoint."""
    labels = {"kubernetes.io/service-name": name}
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": labels},
        "addressType": "IPv4",
        "ports": [{"port": 8080, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}],
    }


def claim(name: str = "models") -> Body:
    """Give a claim; the fake node has room for any."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return _thing("PersistentVolumeClaim", name, spec, version="v1")


def retry(**fields: Any) -> Body:
    """Give a retry policy that does not wait long."""
    return {"retry": {"backoff": "100ms", **fields}}


def names(things: Sequence[Body]) -> list[str]:
    """Give the names of objects."""
    return [thing["metadata"]["name"] for thing in things]


SERVER: Body = {"image": "serves", "ports": [{"name": "http", "containerPort": 8080}]}
MODEL: Body = {"model": {"uri": "pvc://models/m"}, "server": SERVER}


def _thing(kind: str, name: str, spec: Body, *, version: str = API_VERSION) -> Body:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
