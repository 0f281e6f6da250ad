"""`python -m rondo.api.generate` writes every file that follows from the models; `--check` proves none is stale."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from rondo.api.crds import build_crd
from rondo.api.kinds import KINDS

ROOT: Final = Path(__file__).resolve().parents[3]
_HEADER: Final = "# Generated from operator/rondo/api by `make generate`; do not edit.\n"


def files() -> Iterator[tuple[Path, str]]:
    """Give each generated file's path below the repository and its text."""
    for kind in KINDS:
        crd = build_crd(kind)
        yield Path("crds") / f"{kind.crd_name}.yaml", _HEADER + _yaml(crd)
        yield Path("charts/rondo/templates/crds") / f"{kind.plural}.yaml", _HEADER + _chart(crd)


def main(arguments: list[str]) -> int:
    """Write the files, or with `--check` name those that are stale.

    Returns:
        The exit code: 1 if a file is stale.
    """
    wanted = dict(files())
    stale = [path for path, text in wanted.items() if not _is(ROOT / path, text)]
    stale += [path for path in _generated() if path not in wanted]
    if "--check" in arguments:
        for path in stale:
            print(f"{path} is stale: run `make generate`", file=sys.stderr)  # noqa: T201 - a command's output
        return bool(stale)
    for path, text in wanted.items():
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(text)
    for path in _generated():
        if path not in wanted:
            (ROOT / path).unlink()
    return 0


def _generated() -> Iterator[Path]:
    """Find files that some version of this module wrote."""
    for folder in ("crds", "charts/rondo/templates/crds"):
        for path in (ROOT / folder).glob("*.yaml"):
            if path.read_text().startswith(_HEADER):
                yield path.relative_to(ROOT)


def _is(path: Path, text: str) -> bool:
    return path.exists() and path.read_text() == text


def _chart(crd: dict[str, Any]) -> str:
    """Write a CRD as a chart's template, so that it upgrades with the release; `crds.keep` survives an uninstall."""
    text = _yaml(crd).replace("{{", '{{ "{{" }}')
    keep = "metadata:\n  {{- if .Values.crds.keep }}\n  annotations:\n    helm.sh/resource-policy: keep\n  {{- end }}\n"
    return "{{- if .Values.crds.enabled }}\n" + text.replace("metadata:\n", keep, 1) + "{{- end }}\n"


class _Dumper(yaml.SafeDumper):
    """Writes no anchors."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the interface of yaml
        """Write every part out."""
        return True


def _yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
