"""`rondo import kserve`: what is written, where the words go, and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rondo.cli import kserve, linter
from rondo.cli.errors import CommandError
from rondo.cli.manifests import parse

RONDO = Path(sys.executable).with_name("rondo")

PIPELINE = """\
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata: {name: cat-dog}
spec:
  predictor:
    minReplicas: 0
    model: {modelFormat: {name: sklearn}, protocolVersion: v2, storageUri: pvc://models/cat-dog}
---
apiVersion: serving.kserve.io/v1alpha1
kind: InferenceGraph
metadata: {name: pets}
spec:
  nodes:
    root:
      routerType: Sequence
      steps:
        - {name: first, serviceName: cat-dog, dependency: Hard}
        - name: second
          serviceName: cat-dog
          condition: '[@this].#(model=="it''s")'
  resources: {limits: {cpu: 1}}
---
kind: Pod
"""

SERVICE, _, _ = PIPELINE.partition("---\n")

PETS = """\
# From InferenceGraph/pets of KServe.
apiVersion: rondo.dev/v1alpha1
kind: ModelGraph
metadata:
  name: pets
# spec.resources: has no counterpart and is left out: the router is the platform's, which sets this for all graphs
#   (the chart's router.*)
spec:
  protocol: OpenInference
  entry: root
  nodes:
    # spec.nodes.root.steps[1].condition: a sequence that ends unless the condition is met, written as a fallback from
    #   what first answers
    - name: root
      fallback:
        - node: first
          accept: "!(type(response.body) == map && has(response.body.model) && response.body.model == 'it\\\\'s')"
        - node: if-second
    - name: first
      target:
        name: cat-dog
    - name: if-second
      switch:
        - when: has(nodes.first) && nodes.first.status < 300.0 && type(nodes.first.body) == map && \
has(nodes.first.body.model) && nodes.first.body.model == 'it\\'s'
          node: second
    - name: second
      target:
        name: cat-dog
"""

BROKEN = PIPELINE.replace("[@this].#(", "a.@keys(")


def convert(text: str) -> kserve.Result:
    return kserve.translate(list(parse(text, "f.yaml")))


def rondo(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [RONDO, "import", "kserve", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, env={**os.environ}, check=False)


def test_differences_stand_above_the_line_that_they_concern() -> None:
    deployment, graph = convert(PIPELINE).documents
    assert graph.text == PETS
    note = "  # spec.predictor.minReplicas: nothing wakes a deployment that is scaled to zero: one pod is kept\n"
    assert f"{note}  replicas: 1\n" in deployment.text
    assert [each.name for each in (deployment, graph)] == ["cat-dog.modeldeployment.yaml", "pets.modelgraph.yaml"]


def test_differences_are_told_with_the_line_that_they_come_from() -> None:
    result = convert(PIPELINE)
    assert [line.split(": ", 3)[:3] for line in result.notes] == [
        ["f.yaml:6", "InferenceService/cat-dog", "note"],
        ["f.yaml:20", "InferenceGraph/pets", "note"],
        ["f.yaml:21", "InferenceGraph/pets", "note"],
    ]
    assert result.errors == ()
    assert result.remarks[0].startswith("every InferenceService: addresses: ")
    assert result.summary == "2 manifests read, 1 document of other kinds passed over, 2 written: 3 notes, 0 errors"


def test_what_cannot_be_expressed_is_an_error_and_the_rest_is_written() -> None:
    result = convert(BROKEN)
    assert [each.name for each in result.documents] == ["cat-dog.modeldeployment.yaml"]
    (error,) = result.errors
    assert error.startswith("f.yaml:20: InferenceGraph/pets: error: spec.nodes.root.steps[1].condition: 'a.@keys(")


def test_what_is_lost_stands_in_the_manifest_too() -> None:
    (document,) = convert(SERVICE + "  explainer: {art: {}}\n").documents
    assert "# NOT EXPRESSED: spec.explainer: there are no explainers" in document.text


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("a: [\n", "f.yaml:2: document 1: error: is not YAML"),
        (
            PIPELINE.replace("kind: InferenceService\n", "kind: InferenceService\nkind: InferenceService\n"),
            "f.yaml:3: InferenceService/cat-dog: error: kind: stands here again, first in line 2",
        ),
        (
            "apiVersion: serving.kserve.io/v1alpha1\nkind: InferenceGraph\n",
            "f.yaml:1: document 1: error: metadata.name",
        ),
    ],
)
def test_texts_that_are_wrong(text: str, want: str) -> None:
    assert convert(text).errors[0].startswith(want)


def test_nothing_to_import() -> None:
    want = "nothing to import: no InferenceGraph and no InferenceService, 1 document of other kinds passed over"
    assert convert("kind: Pod\n").summary == want


def test_lists_as_kubectl_gives_them() -> None:
    listed = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        f"  - {line}\n" if line.startswith("apiVersion") else f"    {line}\n" for line in SERVICE.splitlines()
    )
    (document,) = convert(listed).documents
    assert document.name == "cat-dog.modeldeployment.yaml"


def test_lint_finds_nothing_in_what_is_written() -> None:
    for document in convert(PIPELINE).documents:
        assert linter.check(parse(document.text, document.name)).findings == ()


def test_two_objects_of_one_name_get_two_files(tmp_path: Path) -> None:
    one = SERVICE
    kserve.write(convert(f"{one}---\n{one}").documents, tmp_path / "new" / "folder")
    names = sorted(file.name for file in (tmp_path / "new" / "folder").iterdir())
    assert names == ["cat-dog.modeldeployment.2.yaml", "cat-dog.modeldeployment.yaml"]


def test_a_namespace_is_part_of_the_files_name() -> None:
    (document,) = convert(SERVICE.replace("{name: cat-dog}", "{name: c, namespace: team}")).documents
    assert document.name == "team.c.modeldeployment.yaml"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match="cannot be written"):
        kserve.write(convert(PIPELINE).documents, tmp_path / "file")


def test_the_command(tmp_path: Path) -> None:
    done = rondo("-", stdin=PIPELINE)
    assert done.returncode == 0
    assert done.stdout.endswith(f"---\n{PETS}")
    assert done.stderr.splitlines()[-1].endswith("3 notes, 0 errors")

    strict = rondo("-", "--strict", "--out", str(tmp_path / "out"), stdin=PIPELINE)
    assert (strict.returncode, strict.stdout) == (1, "")
    assert (tmp_path / "out" / "pets.modelgraph.yaml").read_text() == PETS

    broken = rondo("-", stdin=BROKEN)
    assert broken.returncode == 1
    assert broken.stdout.startswith("# From InferenceService/cat-dog of KServe.\n")

    missing = rondo(str(tmp_path / "nothing.yaml"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "cannot be read" in missing.stderr


def test_strict_is_content_with_what_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(SERVICE.replace("minReplicas: 0", "minReplicas: 2"))
    done = rondo("--strict", str(file))
    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "1 manifest read, 1 written: 0 notes, 0 errors"
