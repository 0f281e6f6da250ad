"""`manifests/base`: the chart as plain manifests, for kustomize. Helm renders it, so that the chart is written once.

The rendered file names the digest of what it was rendered from; so whether it is stale can be told without Helm.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from rondo.api.generate.text import yaml_of

FILE: Final = Path("manifests/base/operator.yaml")
_CHART: Final = Path("charts/rondo")
_NAMESPACE: Final = "rondo-system"
_RENDER: Final = (
    "template",
    "rondo",
    "--namespace",
    _NAMESPACE,
    "--set",
    "crds.enabled=false",
    "--kube-version",
    "1.30.0",
)
_OF_HELM: Final = ("app.kubernetes.io/managed-by", "helm.sh/chart")


class NoHelmError(Exception):
    """Helm is needed and not there."""


def is_current(root: Path) -> bool:
    """Tell whether the manifests were rendered from the chart as it is."""
    file = root / FILE
    return file.exists() and file.read_text().startswith(_header(root))


def render(root: Path) -> None:
    """Render the chart into the manifests.

    Raises:
        NoHelmError: `helm` is not on PATH.
    """
    helm = shutil.which("helm")
    if helm is None:
        raise NoHelmError(
            f"{FILE} is rendered by helm, which is not on PATH; `python -m localcluster build` prints a folder with it"
        )
    rendered = subprocess.run(  # noqa: S603 - helm renders what is committed here
        [helm, *_RENDER, str(root / _CHART)], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    objects = [_without_helm(each) for each in yaml.safe_load_all(rendered) if each]
    (root / FILE).parent.mkdir(parents=True, exist_ok=True)
    (root / FILE).write_text(_header(root) + yaml_of(_namespace(), *objects))


def _header(root: Path) -> str:
    digest = hashlib.sha256(" ".join(_RENDER).encode())
    for file in _sources(root / _CHART):
        digest.update(f"\0{file.relative_to(root)}\0".encode())
        digest.update(file.read_bytes())
    return f"# Rendered from {_CHART} (sha256 {digest.hexdigest()[:16]}) by `make generate`; do not edit.\n"


def _sources(chart: Path) -> Iterator[Path]:
    """Give the chart's files that decide what is rendered; the CRDs are not among them."""
    yield from (chart / "Chart.yaml", chart / "values.yaml")
    yield from sorted((chart / "runtimes").glob("*.yaml"))
    yield from sorted(file for file in (chart / "templates").glob("*") if file.suffix in {".yaml", ".tpl"})


def _namespace() -> dict[str, Any]:
    """Give the operator's namespace, which admits nothing but what the profile `restricted` allows."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE, "labels": labels}}


def _without_helm(part: Any) -> Any:
    """Drop the labels that say that Helm manages an object."""
    match part:
        case dict():
            return {key: _without_helm(value) for key, value in part.items() if key not in _OF_HELM}
        case list():
            return [_without_helm(value) for value in part]
        case _:
            return part
