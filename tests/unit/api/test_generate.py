"""Generated files are current, and the chart, its values and the operator's settings speak of the same things."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from rondo.api.generate.__main__ import ROOT, main
from rondo.api.generate.chart import Values, values_yaml
from rondo.shell.settings import from_environment
from rondo.version import __version__

CHART = ROOT / "charts/rondo"
TEMPLATES = sorted(file for file in (CHART / "templates").rglob("*") if file.is_file())


def test_no_generated_file_is_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--check"]), capsys.readouterr().err) == (0, "")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of everything that is generated."""
    for folder in ("crds", "charts", "manifests/base", "manifests/kustomize", "docs/reference"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        "crds/pipelines.rondo.dev.yaml",
        "charts/rondo/values.yaml",
        "docs/reference/pipeline.md",
        "manifests/base/operator.yaml",
    ],
)
def test_a_file_that_was_edited_is_named(copy: Path, path: str, capsys: pytest.CaptureFixture[str]) -> None:
    (copy / path).write_text("")
    assert main(["--check"], copy) == 1
    assert f"{path} is stale" in capsys.readouterr().err


def test_a_file_of_a_kind_that_is_no_more_is_named_and_removed(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    left = copy / "crds/things.rondo.dev.yaml"
    left.write_text((copy / "crds/pipelines.rondo.dev.yaml").read_text())
    by_hand = copy / "docs/reference/settings.md"
    assert main(["--check"], copy) == 1
    assert capsys.readouterr().err.splitlines() == ["crds/things.rondo.dev.yaml is stale: run `make generate`"]
    assert main([], copy) == 0
    assert not left.exists()
    assert by_hand.exists()


def test_plain_manifests_are_stale_when_the_chart_is_edited(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (copy / "charts/rondo/templates/rbac.yaml").open("a") as template:
        template.write("# edited\n")
    assert main(["--check"], copy) == 1
    assert "manifests/base/operator.yaml is stale" in capsys.readouterr().err


def test_without_helm_it_says_what_is_needed(
    copy: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "manifests/base/operator.yaml").unlink()
    monkeypatch.setenv("PATH", str(copy))
    assert main([], copy) == 1
    assert "helm, which is not on PATH" in capsys.readouterr().err


def test_values_yaml_says_what_the_model_says() -> None:
    assert Values.model_validate(yaml.safe_load(values_yaml())) == Values()


def test_templates_read_every_value_and_no_other() -> None:
    read = {match for file in TEMPLATES for match in re.findall(r"\.Values\.([A-Za-z.]+)", file.read_text())}
    # Runtimes are read by the names of their files.
    known = {path for path in paths_of(Values(), "") if not path.startswith("runtimes.")} | {"runtimes"}
    assert {path for path in known if path in read or path.rpartition(".")[0] in read} == known
    assert read <= known | {path.rpartition(".")[0] for path in known}


def test_every_preset_runtime_has_values() -> None:
    assert {file.stem for file in (CHART / "runtimes").iterdir()} == set(Values().runtimes.model_dump())


def paths_of(values: BaseModel, path: str) -> Iterator[str]:
    for name, field in type(values).model_fields.items():
        value, alias = getattr(values, name), f"{path}{field.alias or name}"
        if isinstance(value, BaseModel):
            yield from paths_of(value, f"{alias}.")
        else:
            yield alias


class Recorder(dict[str, str]):
    """Remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return default


def settings() -> set[str]:
    environment = Recorder()
    from_environment(environment)
    return environment.asked


def test_the_chart_sets_what_the_operator_reads() -> None:
    text = (CHART / "templates/deployment.yaml").read_text()
    # A person at a laptop turns leader election off; the chart never does.
    assert set(re.findall(r"name: (RONDO_[A-Z_]+)", text)) == settings() - {"RONDO_LEADER_ELECTION"}


def test_the_reference_names_every_setting() -> None:
    text = (ROOT / "docs/reference/settings.md").read_text()
    assert set(re.findall(r"`(RONDO_[A-Z_]+)`", text)) == settings()


def test_the_chart_has_the_version_of_the_operator() -> None:
    chart: Mapping[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == __version__


def rules() -> list[dict[str, Any]]:
    objects = yaml.safe_load_all((ROOT / "manifests/base/operator.yaml").read_text())
    return [rule for each in objects if each["kind"] in {"ClusterRole", "Role"} for rule in each["rules"]]


def test_the_operator_reads_no_secrets_and_nobody_gets_everything() -> None:
    assert [rule for rule in rules() if "secrets" in rule["resources"]] == []
    assert [rule for rule in rules() if "*" in str(rule)] == []
