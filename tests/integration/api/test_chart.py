"""The chart, the plain manifests and the kustomize component, as helm, kubectl and a real API server take them."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from localcluster.cluster import Cluster, control_plane
from localcluster.spec import ClusterSpec
from rondo.api.generate import base
from rondo.api.kinds import KINDS

ROOT: Final = Path(__file__).parents[3]
CHART: Final = str(ROOT / "charts/rondo")
SYSTEM: Final = ("--namespace", "rondo-system")


@dataclass(frozen=True)
class Helm:
    """Helm, as the administrator of a cluster."""

    cluster: Cluster

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.cluster.programs / "helm"), f"--kubeconfig={self.cluster.kubeconfig}", *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    def done(self, *arguments: str) -> str:
        """Run it and return what it prints."""
        result = self.run(*arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout

    def rendered(self, *sets: str) -> list[dict[str, Any]]:
        """Render the chart with values."""
        values = [part for each in sets for part in ("--set-json", each)]
        text = self.done("template", "rondo", CHART, *SYSTEM, "--kube-version", "1.30.0", *values)
        return [each for each in yaml.safe_load_all(text) if each]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A control plane of the module's own, because a release owns the CRDs."""
    with control_plane(ClusterSpec(name="chart", fake_nodes=1)) as made:
        yield made


@pytest.fixture(scope="module")
def helm(cluster: Cluster) -> Helm:
    return Helm(cluster)


def crds_of(cluster: Cluster) -> set[str]:
    return set(cluster.kubectl("get", "crd", "-o", "name", "-l", "app.kubernetes.io/part-of=rondo").split())


ALL_CRDS: Final = {f"customresourcedefinition.apiextensions.k8s.io/{kind.crd_name}" for kind in KINDS}


def test_the_chart_has_no_lint(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.done("lint", "--strict", CHART)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("replica=2", "additional properties 'replica' not allowed"),
        ("log=loud", "at '/log': got string, want object"),
        ("log.level=LOUD", "value must be one of 'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ("image.digest=latest", "does not match pattern"),
        ("replicas=-1", "minimum: got -1, want 0"),
    ],
)
def test_wrong_values_are_refused_by_name(helm: Helm, values: str, words: str) -> None:
    refused = helm.run("template", "rondo", CHART, "--kube-version", "1.30.0", "--set", values)
    assert refused.returncode == 1
    assert words in refused.stderr


def test_an_installation_lives_under_pod_security_restricted_and_leaves_the_crds(cluster: Cluster, helm: Helm) -> None:
    """Install, upgrade and uninstall; the fake node lets every pod that was admitted become Ready."""
    cluster.kubectl("create", "namespace", "rondo-system")
    cluster.kubectl("label", "namespace", "rondo-system", "pod-security.kubernetes.io/enforce=restricted")
    helm.done("install", "rondo", CHART, *SYSTEM, "--wait", "--timeout", "60s")
    assert crds_of(cluster) == ALL_CRDS
    cluster.kubectl("apply", "-f", str(ROOT / "manifests/examples/digits/pipeline.yaml"))
    helm.done("upgrade", "rondo", CHART, *SYSTEM, "--wait", "--timeout", "60s", "--set", "replicas=2")
    assert cluster.kubectl("-n", "rondo-system", "get", "pdb", "-o", "name").split() == [
        "poddisruptionbudget.policy/rondo"
    ]
    helm.done("uninstall", "rondo", *SYSTEM, "--wait")
    assert crds_of(cluster) == ALL_CRDS
    assert cluster.kubectl("get", "pipelines", "-o", "name").split() == ["pipeline.rondo.dev/digits"]
    assert (
        cluster.kubectl("get", "clusterrole,clusterrolebinding", "-o", "name", "-l", "app.kubernetes.io/name=rondo")
        == ""
    )
    # The CRDs that were kept are taken over by the next installation.
    helm.done("install", "rondo", CHART, *SYSTEM, "--wait", "--timeout", "60s", "--dry-run=server")
    cluster.kubectl("delete", "pipeline", "digits")


def test_every_value_gives_objects_that_the_api_server_takes(cluster: Cluster, helm: Helm) -> None:
    objects = helm.rendered(
        "crds.enabled=false",
        'watchNamespaces=["default","kube-public"]',
        "replicas=2",
        f'image={{"repository":"registry.example/rondo","digest":"sha256:{"a" * 64}"}}',
        'imagePullSecrets=[{"name":"registry"}]',
        'artifacts={"size":"1Ti","accessMode":"ReadWriteMany","storageClass":"shared"}',
        'serviceAccount={"annotations":{"a.b/c":"d"}}',
        'podAnnotations={"a.b/c":"d"}',
        'nodeSelector={"a":"b"}',
        'tolerations=[{"key":"a","operator":"Exists"}]',
        'affinity={"nodeAffinity":{}}',
        'priorityClassName="system-cluster-critical"',
    )
    cluster.kubectl("create", "namespace", "values")
    everything = [{**each, "metadata": {**each["metadata"], **moved(each)}} for each in objects]
    document = json.dumps({"apiVersion": "v1", "kind": "List", "items": everything})
    cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", stdin=document)
    (deployment,) = [each for each in objects if each["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/rondo@sha256:{'a' * 64}"


def moved(thing: dict[str, Any]) -> dict[str, str]:
    """Put what is in the operator's namespace into one that exists."""
    return {"namespace": "values"} if thing["metadata"].get("namespace") == "rondo-system" else {}


def test_with_namespaces_rights_on_namespaced_kinds_are_roles(helm: Helm) -> None:
    objects = helm.rendered("crds.enabled=false", 'watchNamespaces=["a","b"]')
    assert {each["metadata"]["namespace"] for each in objects if each["kind"] == "Role"} == {"a", "b", "rondo-system"}
    (everywhere,) = [
        each for each in objects if each["kind"] == "ClusterRole" and each["metadata"]["name"] == "rondo-operator"
    ]
    resources = {resource for rule in everywhere["rules"] for resource in rule["resources"]}
    assert resources == {"modelruntimes", "modelruntimes/status"}


@pytest.mark.parametrize(
    ("values", "want_crds", "want_kept"),
    [
        (("crds.enabled=true",), len(KINDS), True),
        (("crds.keep=false",), len(KINDS), False),
        (("crds.enabled=false",), 0, False),
    ],
    ids=str,
)
def test_crds_are_part_of_the_release_as_wanted(
    helm: Helm,
    values: tuple[str, ...],
    want_crds: int,
    want_kept: bool,  # noqa: FBT001 - a table
) -> None:
    crds = [each for each in helm.rendered(*values) if each["kind"] == "CustomResourceDefinition"]
    kept = [each["metadata"].get("annotations") == {"helm.sh/resource-policy": "keep"} for each in crds]
    assert len(crds) == want_crds
    assert kept == [want_kept] * want_crds


def test_a_preset_can_be_left_out(helm: Helm) -> None:
    (presets,) = [each for each in helm.rendered("runtimes.sklearn.enabled=false") if each["kind"] == "ConfigMap"]
    assert not presets["data"]


def test_preset_runtimes_are_what_the_api_server_takes(cluster: Cluster, helm: Helm) -> None:
    (presets,) = [
        each
        for each in helm.rendered('runtimes.sklearn.image="registry.example/sklearn:2"')
        if each["kind"] == "ConfigMap"
    ]
    cluster.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"), "--force-conflicts")
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    for text in presets["data"].values():
        made = cluster.kubectl("create", "--dry-run=server", "--validate=strict", "-o", "json", "-f", "-", stdin=text)
        assert json.loads(made)["spec"]["server"]["image"] == "registry.example/sklearn:2"


def test_plain_manifests_are_what_helm_renders(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "charts").symlink_to(ROOT / "charts")
    monkeypatch.setenv("PATH", str(helm.cluster.programs), prepend=":")
    base.render(tmp_path)
    assert (tmp_path / base.FILE).read_text() == (ROOT / base.FILE).read_text()


def test_plain_manifests_can_be_applied_and_an_overlay_changes_both_places_of_the_image(
    cluster: Cluster, tmp_path: Path
) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(ROOT / "manifests/base"))
    cluster.kubectl(*SYSTEM, "rollout", "status", "deployment/rondo", "--timeout=60s")
    image = {"name": "rondo-operator", "newName": "registry.example/op", "newTag": "9"}
    (container,) = [
        container
        for each in kustomized(cluster, tmp_path, resources=["manifests/base"], images=[image])
        if each["kind"] == "Deployment"
        for container in each["spec"]["template"]["spec"]["containers"]
    ]
    assert container["image"] == "registry.example/op:9"
    assert {"name": "RONDO_IMAGE", "value": "registry.example/op:9"} in container["env"]


def kustomized(cluster: Cluster, folder: Path, **fields: Any) -> list[dict[str, Any]]:
    """Build an overlay beside copies of the repository's folders, as kustomize takes no absolute paths."""
    for path in {*fields["resources"], *fields.get("components", ())}:
        if not (folder / path).exists():
            shutil.copytree(ROOT / path, folder / path)
    (folder / "kustomization.yaml").write_text(json.dumps(fields))
    return list(yaml.safe_load_all(cluster.kubectl("kustomize", str(folder))))


PIPELINE: Final = """
apiVersion: rondo.dev/v1alpha1
kind: Pipeline
metadata: {name: fraud}
spec:
  params: [{name: trees, type: integer, default: 300}, {name: bar, type: number}]
  stages:
    - {name: features, job: {image: fraud, command: [python, features.py], envFrom: [{configMapRef: {name: settings}}]}}
    - name: train
      needs: [features]
      job: {image: fraud, env: [{name: A, value: a}, {name: B, value: b}]}
    - {name: release, needs: [train], deploy: {name: fraud, spec: {runtime: sklearn}}}
"""
PATCH: Final = """
apiVersion: rondo.dev/v1alpha1
kind: Pipeline
metadata: {name: fraud}
spec:
  params: [{name: trees, default: 500}]
  stages: [{name: train, timeout: 6h, job: {env: [{name: B, value: c}]}}]
"""
MODEL: Final = """
apiVersion: rondo.dev/v1alpha1
kind: ModelDeployment
metadata: {name: fraud}
spec: {runtime: sklearn}
"""


def test_a_patch_of_one_stage_keeps_the_others_and_names_are_followed(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "bases"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(f"{PIPELINE}---{MODEL}")
    (folder / "kustomization.yaml").write_text(json.dumps({"resources": ["pipeline.yaml"]}))
    objects = kustomized(
        cluster,
        tmp_path,
        resources=["bases"],
        components=["manifests/kustomize"],
        namePrefix="eu-",
        images=[{"name": "fraud", "newTag": "2.4.0"}],
        configMapGenerator=[{"name": "settings", "literals": ["A=1"]}],
        patches=[{"patch": PATCH}],
    )
    (pipeline,) = [each for each in objects if each["kind"] == "Pipeline"]
    (settings,) = [each["metadata"]["name"] for each in objects if each["kind"] == "ConfigMap"]
    params = {param["name"]: param for param in pipeline["spec"]["params"]}
    stages = {stage["name"]: stage for stage in pipeline["spec"]["stages"]}
    assert params["trees"] == {"name": "trees", "type": "integer", "default": 500}
    assert params["bar"] == {"name": "bar", "type": "number"}
    assert stages.keys() == {"features", "train", "release"}
    assert stages["train"]["timeout"] == "6h"
    assert {each["name"]: each["value"] for each in stages["train"]["job"]["env"]} == {"A": "a", "B": "c"}
    assert stages["train"]["job"]["image"] == "fraud:2.4.0"
    assert stages["features"]["job"]["command"] == ["python", "features.py"]
    assert settings.startswith("eu-settings-")
    assert stages["features"]["job"]["envFrom"] == [{"configMapRef": {"name": settings}}]
    assert stages["release"]["deploy"]["name"] == "eu-fraud"
