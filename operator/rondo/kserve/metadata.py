"""The metadata of a manifest: what is taken over, and what means something to KServe alone."""

from __future__ import annotations

from typing import Any, Final

from rondo.kserve.fields import Fields, ShapeError
from rondo.kserve.findings import Report

_WRITTEN_BY_THE_SERVER: Final = (
    "creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "generation", "managedFields",
    "resourceVersion", "selfLink", "uid",
)  # fmt: skip
_FINALIZER: Final = "inferenceservice.finalizers"
"""KServe's own, on every InferenceService of a cluster."""

_OF_KUBECTL: Final = "kubectl.kubernetes.io/last-applied-configuration"
_FOREIGN: Final = ("kserve.io", "knative.dev", "istio.io", "opendatahub.io")
"""Domains whose labels and annotations change what KServe or what it uses does."""

_MEANINGS: Final = {
    "serving.kserve.io/deploymentMode": "there is one mode: Deployments and Services",
    "serving.kserve.io/autoscalerClass": "scale by a HorizontalPodAutoscaler of your own",
    "serving.kserve.io/enable-prometheus-scraping": "scrape the pods by a PodMonitor",
    "networking.kserve.io/visibility": "what is deployed is reached within the cluster only",
    "networking.knative.dev/visibility": "what is deployed is reached within the cluster only",
}


def read_object(fields: Fields, report: Report) -> dict[str, Any]:
    """Read what every object has, but for its spec, and give the metadata that is taken over.

    Raises:
        ShapeError: It has no name, or is not of its shape.
    """
    for field in ("apiVersion", "kind", "status"):
        fields.take(field)
    metadata = fields.part("metadata") or Fields({}, "metadata")
    name = metadata.text("name")
    if not name:
        raise ShapeError("metadata.name", "the name of the object", name)
    for field in _WRITTEN_BY_THE_SERVER:
        metadata.take(field)
    if metadata.take("finalizers") not in (None, [], [_FINALIZER]):
        report.note("metadata.finalizers", "are left out: what is written is another object", place="metadata")
    written: dict[str, Any] = {"name": name}
    if metadata.text("namespace"):
        written["namespace"] = metadata.text("namespace")
    for field in ("labels", "annotations"):
        kept = _kept(metadata.mapping(field), metadata.at(field), report)
        written |= {field: kept} if kept else {}
    return written


def _kept(given: dict[str, Any], path: str, report: Report) -> dict[str, Any]:
    kept = {}
    for key, value in given.items():
        domain = key.partition("/")[0]
        if key == _OF_KUBECTL:
            continue
        if any(domain == each or domain.endswith(f".{each}") for each in _FOREIGN):
            meaning = f": {_MEANINGS[key]}" if key in _MEANINGS else ""
            report.note(f"{path}[{key}]", f"means nothing here and is left out{meaning}", place="metadata")
            continue
        kept[key] = value
    return kept
