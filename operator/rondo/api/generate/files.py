"""Which files follow from the models, and what stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from rondo.api.crds import build_crd
from rondo.api.generate.chart import chart_readme, values_schema, values_yaml
from rondo.api.generate.kustomize import merge_schema, transformer_configuration
from rondo.api.generate.reference import reference_pages
from rondo.api.generate.text import SOURCE, YAML_HEADER, yaml_of
from rondo.api.kinds import KINDS

_CRDS: Final = Path("crds")
_CHART: Final = Path("charts/rondo")
_BASE: Final = Path("manifests/base")
_KUSTOMIZE: Final = Path("manifests/kustomize")
_REFERENCE: Final = Path("docs/reference")

FOLDERS: Final = (_CRDS, _CHART, _CHART / "templates/crds", _BASE, _KUSTOMIZE, _REFERENCE)
"""Where generated files are, some beside files written by hand."""


def is_generated(text: str) -> bool:
    """Tell whether a file's text says that it was generated."""
    return SOURCE in text[:200]


def generated_files() -> Iterator[tuple[Path, str]]:
    """Give each generated file's path below the repository and its text.

    Raises:
        SchemaError: A model cannot be represented in a CRD.
    """
    crds = [build_crd(kind) for kind in KINDS]
    for kind, crd in zip(KINDS, crds, strict=True):
        yield _CRDS / f"{kind.crd_name}.yaml", YAML_HEADER + yaml_of(crd)
        yield _CHART / "templates/crds" / f"{kind.plural}.yaml", YAML_HEADER + _template(crd)
    # Kustomize reads no file outside its folder, and `kubectl apply -f crds` would take a kustomization for an object.
    yield _BASE / "crds.yaml", YAML_HEADER + yaml_of(*crds)
    yield _CHART / "values.yaml", values_yaml()
    yield _CHART / "values.schema.json", values_schema()
    yield _CHART / "README.md", chart_readme()
    yield _KUSTOMIZE / "schema.json", merge_schema()
    yield _KUSTOMIZE / "configuration.yaml", transformer_configuration()
    for name, text in reference_pages():
        yield _REFERENCE / name, text


def _template(crd: dict[str, Any]) -> str:
    """Write a CRD as a chart's template, so that it upgrades with the release; `crds.keep` survives an uninstall."""
    text = yaml_of(crd).replace("{{", '{{ "{{" }}')
    keep = "metadata:\n  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
    return "{{- if .Values.crds.enabled }}\n" + text.replace("metadata:\n", keep, 1) + "{{- end }}\n"
