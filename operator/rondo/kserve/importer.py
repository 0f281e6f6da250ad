"""Which manifest becomes what: services first, so that graphs know whom they ask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rondo.api.base import Json
from rondo.core.problems import Problem
from rondo.kserve.fields import ShapeError
from rondo.kserve.findings import Imported
from rondo.kserve.graph import import_graph
from rondo.kserve.service import describe_service, import_service
from rondo.kserve.services import Service

GROUP: Final = "serving.kserve.io"
_FORMER: Final = "serving.kubeflow.org"
"""KServe's group when it was KFServing."""

_GRAPH: Final = (f"{GROUP}/v1alpha1", "InferenceGraph")
_SERVICE: Final = (f"{GROUP}/v1beta1", "InferenceService")


def import_all(contents: Sequence[Json]) -> list[Imported | None]:
    """Translate manifests.

    Args:
        contents: Objects of any kind, in any order.

    Returns:
        What each becomes; None for one that is not KServe's.
    """
    services = _services(contents)
    return [_import(content, services.get(_namespace(content), {})) for content in contents]


def _services(contents: Sequence[Json]) -> Mapping[str, Mapping[str, Service]]:
    """Describe the services by namespace and name: a graph asks those of its own."""
    found: dict[str, dict[str, Service]] = {}
    for content in contents:
        if _type(content) == _SERVICE:
            try:
                service = describe_service(content)
            except ShapeError:
                continue  # It is told where the service itself is translated.
            found.setdefault(_namespace(content), {})[service.name] = service
    return found


def _import(content: Json, services: Mapping[str, Service]) -> Imported | None:
    type_ = _type(content)
    try:
        if type_ == _GRAPH:
            return import_graph(content, services)
        if type_ == _SERVICE:
            return import_service(content)
    except ShapeError as error:
        return Imported(problems=(error.problem,))
    if type_[0].partition("/")[0] not in {GROUP, _FORMER}:
        return None
    known = " and ".join(f"{kind} of {version}" for version, kind in (_GRAPH, _SERVICE))
    return Imported(problems=(Problem("kind", f"{type_[1]} of {type_[0]} is not translated, only {known}"),))


def _type(content: Json) -> tuple[str, str]:
    if not isinstance(content, Mapping):
        return "", ""
    return str(content.get("apiVersion", "")), str(content.get("kind", ""))


def _namespace(content: Json) -> str:
    metadata = content.get("metadata") if isinstance(content, Mapping) else None
    return str(metadata.get("namespace") or "") if isinstance(metadata, Mapping) else ""
