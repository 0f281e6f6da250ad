"""The chart's values: one model gives values.yaml, values.schema.json and the table in the chart's README."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from rondo.api.base import IntOrString
from rondo.api.generate.text import MARKDOWN_HEADER, SOURCE, YAML_HEADER
from rondo.api.pipeline import AccessMode

Loose = dict[str, Any]
"""An object of Kubernetes' own, passed on as it is."""


class _Values(BaseModel):
    """Values: a misspelt one is an error."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True)


class PullPolicy(StrEnum):
    """When the kubelet asks the registry."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class LogFormat(StrEnum):
    """How a line of the log looks."""

    JSON = "json"
    TEXT = "text"


class LogLevel(StrEnum):
    """What is worth a line in the log."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Image(_Values):
    """The operator's image; it also fetches and pushes artifacts in the pods of stages."""

    repository: Annotated[str, Field(min_length=1, description="Registry and name.")] = "rondo-operator"
    tag: Annotated[str, Field(description="Default: the chart's appVersion.")] = ""
    digest: Annotated[
        str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$", description="Such as `sha256:…`; wins over the tag.")
    ] = ""
    pull_policy: Annotated[PullPolicy, Field(description="Always, IfNotPresent or Never.")] = PullPolicy.IF_NOT_PRESENT


class Crds(_Values):
    """The kinds that Rondo adds to the cluster."""

    enabled: Annotated[bool, Field(description="Install and upgrade the CRDs with the release.")] = True
    keep: Annotated[
        bool,
        Field(description="Keep them, and with them all Pipelines and models, when the release is uninstalled."),
    ] = True


class Collect(_Values):
    """When artifacts of runs that are gone are removed."""

    enabled: Annotated[bool, Field(description="Do it; `artifacts.retention` of a Pipeline may say Keep.")] = True
    age: Annotated[str, Field(min_length=2, description="How old they have to be.")] = "24h"
    every: Annotated[str, Field(min_length=2, description="Time between two sweeps of a namespace.")] = "24h"


class Artifacts(_Values):
    """Where outputs of stages are stored: one claim a namespace, created on first use, or a bucket for all."""

    uri: Annotated[
        str,
        Field(
            pattern=r"^(s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^/$]+)*/?)?$",
            description="A bucket instead of claims, such as `s3://BUCKET/PREFIX`; a Pipeline may name another.",
        ),
    ] = ""
    secret: Annotated[
        str,
        Field(
            max_length=253,
            description="Name of the Secret with the bucket's credentials, in each namespace where runs use it.",
        ),
    ] = ""

    claim: Annotated[str, Field(min_length=1, max_length=253, description="Name of the PersistentVolumeClaim.")] = (
        "rondo-artifacts"
    )
    size: Annotated[IntOrString, Field(description="Its size.")] = "10Gi"
    access_mode: Annotated[
        AccessMode,
        Field(description="ReadWriteMany lets stages run on several nodes; with ReadWriteOnce they are kept on one."),
    ] = AccessMode.READ_WRITE_ONCE
    storage_class: Annotated[str, Field(description="Default: the cluster's default storage class.")] = ""
    collect: Annotated[Collect, Field(description="Removes from the claim what nothing refers to any more.")] = (
        Collect()
    )


class Runtime(_Values):
    """A preset ModelRuntime."""

    enabled: Annotated[bool, Field(description="Install it.")] = True
    image: Annotated[str, Field(min_length=1, description="Image of its server.")]


class Runtimes(_Values):
    """Preset ModelRuntimes; the operator applies them when it starts, and never over changes of others."""

    sklearn: Annotated[Runtime, Field(description="MLServer for scikit-learn.")] = Runtime(image="rondo-sklearn:0.1.0")


class RouterImage(_Values):
    """The image of the routers."""

    repository: Annotated[str, Field(min_length=1, description="Registry and name.")] = "rondo-router"
    tag: Annotated[str, Field(description="Default: the chart's appVersion.")] = ""
    digest: Annotated[
        str, Field(pattern=r"^(sha256:[0-9a-f]{64})?$", description="Such as `sha256:…`; wins over the tag.")
    ] = ""


class Router(_Values):
    """The routers, which answer for the ModelGraphs of a namespace each."""

    image: Annotated[RouterImage, Field(description="Their image.")] = RouterImage()
    replicas: Annotated[int, Field(ge=1, description="Pods of each router; with an autoscaler the fewest.")] = 2
    max_replicas: Annotated[
        int, Field(ge=0, description="With more than `replicas` each router has a HorizontalPodAutoscaler.")
    ] = 0
    resources: Annotated[Loose, Field(description="Requests and limits of a router's pod.")] = {
        "requests": {"cpu": "50m", "memory": "32Mi"},
        "limits": {"memory": "256Mi"},
    }


class Log(_Values):
    """The operator's log."""

    format: Annotated[LogFormat, Field(description="How a line looks: json or text.")] = LogFormat.JSON
    level: Annotated[LogLevel, Field(description="What is worth a line: DEBUG, INFO, WARNING or ERROR.")] = (
        LogLevel.INFO
    )


class ServiceAccount(_Values):
    """The operator's identity."""

    annotations: Annotated[dict[str, str], Field(description="Such as for a cloud's workload identity.")] = {}


class Values(_Values):
    """Everything that an installation can set."""

    image: Annotated[Image, Field(description="The operator's image; it also runs in the pods of stages.")] = Image()
    image_pull_secrets: Annotated[list[Loose], Field(description="Registry credentials of the operator's pod.")] = []
    crds: Annotated[Crds, Field(description="The kinds that Rondo adds to the cluster.")] = Crds()
    replicas: Annotated[
        int, Field(ge=0, description="Operator pods. With more than one, the others stand by for the leader.")
    ] = 1
    watch_namespaces: Annotated[
        list[str],
        Field(description="Namespaces to work in; empty for all. With a list, the operator gets Roles in these only."),
    ] = []
    artifacts: Annotated[Artifacts, Field(description="Where outputs of stages are stored.")] = Artifacts()
    runtimes: Annotated[Runtimes, Field(description="Preset ModelRuntimes.")] = Runtimes()
    router: Annotated[Router, Field(description="The routers of ModelGraphs.")] = Router()
    log: Annotated[Log, Field(description="The operator's log.")] = Log()
    service_account: Annotated[ServiceAccount, Field(description="The operator's identity.")] = ServiceAccount()
    resources: Annotated[Loose, Field(description="Requests and limits of the operator.")] = {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"memory": "512Mi"},
    }
    pod_annotations: Annotated[dict[str, str], Field(description="Annotations of the operator's pod.")] = {}
    node_selector: Annotated[dict[str, str], Field(description="Labels a node must have.")] = {}
    tolerations: Annotated[list[Loose], Field(description="Taints that are tolerated.")] = []
    affinity: Annotated[Loose, Field(description="Affinity, as in core/v1.")] = {}
    priority_class_name: Annotated[str, Field(description="PriorityClass of the operator's pod.")] = ""


_README: Final = """# rondo

Installs the Rondo operator: its CRDs, one Deployment, its rights, and preset ModelRuntimes.

```console
$ helm install rondo charts/rondo --namespace rondo-system --create-namespace
$ kubectl explain pipeline.spec.stages
```

- **CRDs** are templates of the chart, so `helm upgrade` upgrades them. `crds.keep` leaves them, and all Pipelines and
  models, in the cluster when the release is uninstalled; `kubectl delete crd -l app.kubernetes.io/part-of=rondo`
  removes them then, with everything of these kinds.
- **Rights.** Without `watchNamespaces` one ClusterRole; with it a Role in each of these namespaces. Secrets are never
  read. A router may read the one ConfigMap with its plan, and nothing else.
- **Pod Security.** The operator runs under the profile `restricted`.
- **Rights of people.** The cluster's own roles `view`, `edit` and `admin` are extended by Rondo's kinds. Who may create
  Pipelines in a namespace may run any container there, under any of its ServiceAccounts.

## Values

| value | default | meaning |
|---|---|---|
"""


def values_yaml() -> str:
    """Write the chart's values.yaml."""
    return YAML_HEADER + "\n".join(_lines(Values(), ""))


def values_schema() -> str:
    """Write the JSON Schema by which Helm refuses wrong values."""
    schema = Values.model_json_schema(by_alias=True)
    # Helm hands a parent chart's global values to every chart.
    schema["properties"]["global"] = {"type": "object", "description": "Values of a parent chart; not read."}
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "$comment": SOURCE}
    return json.dumps(head | _without_titles(schema), indent=1) + "\n"


def chart_readme() -> str:
    """Write the chart's README with a table of its values."""
    rows = [f"| `{path}` | `{json.dumps(value)}` | {meaning} |" for path, value, meaning in _leaves(Values(), "")]
    return MARKDOWN_HEADER + _README + "\n".join(rows) + "\n"


def _lines(values: BaseModel, indent: str) -> Iterator[str]:
    """Give the lines of values.yaml, each value under its meaning."""
    for name, value, meaning in _fields(values):
        if not indent:
            yield ""
        yield from textwrap.wrap(meaning, 118, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if isinstance(value, BaseModel):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {json.dumps(value)}"
    if not indent:
        yield ""


def _leaves(values: BaseModel, path: str) -> Iterator[tuple[str, Any, str]]:
    """Give path, default and meaning of every value."""
    for name, value, meaning in _fields(values):
        if isinstance(value, BaseModel):
            yield from _leaves(value, f"{path}{name}.")
        else:
            yield f"{path}{name}", value, meaning


def _fields(values: BaseModel) -> Iterator[tuple[str, Any, str]]:
    for name, field in type(values).model_fields.items():
        yield field.alias or name, getattr(values, name), field.description or ""


def _without_titles(schema: Any) -> Any:
    """Drop the titles that pydantic makes of names."""
    match schema:
        case dict():
            return {
                key: _without_titles(part) for key, part in schema.items() if key != "title" or isinstance(part, dict)
            }
        case list():
            return [_without_titles(part) for part in schema]
        case _:
            return schema
