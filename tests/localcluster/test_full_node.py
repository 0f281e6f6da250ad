"""One real node: containers, network, volumes, images, and the kind command on top of it."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from localcluster import images, kind
from localcluster.cluster import Cluster, down, up
from localcluster.errors import LocalClusterError
from localcluster.spec import ClusterSpec
from tests.localcluster.conftest import POD_IMAGE
from tests.localcluster.traces import Traces, gather

pytestmark = pytest.mark.localcluster

NAME = "full"
Manifest = Mapping[str, object]


@pytest.fixture(scope="module")
def before() -> Traces:
    return gather(NAME)


@pytest.fixture(scope="module")
def node(before: Traces, pod_archive: Path) -> Iterator[Cluster]:
    made = up(ClusterSpec(name=NAME, fake_nodes=1))
    try:
        images.load(made.layout, str(pod_archive))
        yield made
    finally:
        down(NAME)
    assert gather(NAME) == before


def container(*arguments: str, **more: object) -> Manifest:
    return {"name": "main", "image": POD_IMAGE, "args": list(arguments), **more}


def pod(name: str, *containers: Manifest, **more: object) -> Manifest:
    spec = {"restartPolicy": "Never", "containers": list(containers), **more}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def apply(cluster: Cluster, *manifests: Manifest) -> None:
    cluster.kubectl("apply", "--filename=-", stdin="---\n".join(json.dumps(each) + "\n" for each in manifests))


def run_pod(cluster: Cluster, manifest: Manifest, name: str) -> str:
    """Run a pod to its end and return what it wrote."""
    apply(cluster, manifest)
    cluster.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
    return cluster.kubectl("logs", name)


def wait_until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@pytest.fixture(scope="module")
def web(node: Cluster) -> Cluster:
    labels = {"app": "web"}
    ready = {"readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}
    template = {"terminationGracePeriodSeconds": 0, "containers": [container("serve", "hello", **ready)]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": template},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
    }
    apply(node, deployment, service)
    node.kubectl("wait", "--for=condition=available", "deployment/web", "--timeout=60s")
    return node


def test_a_job_runs_on_the_real_node_and_its_log_can_be_read(node: Cluster) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [container("say", "hello from a job")]}}
    spec = {"backoffLimit": 0, "template": template}
    apply(node, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "hello"}, "spec": spec})
    node.kubectl("wait", "--for=condition=complete", "job/hello", "--timeout=60s")
    assert node.kubectl("logs", "job/hello") == "hello from a job\n"
    names = node.kubectl("get", "pods", "--selector=job-name=hello", "--output=jsonpath={.items[*].spec.nodeName}")
    assert names == f"{NAME}-control-plane"


def test_a_pod_reaches_a_service_by_its_name(web: Cluster) -> None:
    assert run_pod(web, pod("short", container("get", "http://web")), "short") == "hello\n"
    url = "http://web.default.svc.cluster.local"
    assert run_pod(web, pod("long", container("get", url)), "long") == "hello\n"


def test_a_pod_reaches_the_api_server_with_its_own_authority(node: Cluster) -> None:
    url = "https://kubernetes.default.svc/version"
    answer = run_pod(node, pod("api", container("get", url)), "api")
    assert json.loads(answer)["gitVersion"] == "v1.35.4"


def test_a_pod_behind_a_service_reaches_itself_through_it(web: Cluster) -> None:
    name = web.kubectl("get", "pods", "--selector=app=web", "--output=jsonpath={.items[0].metadata.name}")
    for _ in range(4):
        assert web.kubectl("exec", name, "--", "/pod", "get", "http://web") == "hello\n"


def test_a_claim_is_shared_by_pods_of_any_user_and_reclaimed(node: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    volumes = [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    apply(node, claim)

    def run_as(user: int, verb: str) -> str:
        main = container(verb, "/data/file", **mount)
        return run_pod(node, pod(verb, main, volumes=volumes, securityContext={"runAsUser": user}), verb)

    assert not run_as(1234, "write")
    assert run_as(4321, "read") == "written by a pod\n"
    folder = node.layout.places.volumes
    assert len(list(folder.iterdir())) == 1
    node.kubectl("delete", "pod", "write", "read", "--wait")
    node.kubectl("delete", "pvc", "data", "--wait")
    wait_until(lambda: not list(folder.iterdir()), "the volume's directory is still there")


@pytest.mark.parametrize("kind_of_archive", ["docker-archive", "oci-archive"])
def test_an_image_of_buildah_is_loaded_as_tag_and_as_archive(
    node: Cluster, pod_program: Path, tmp_path: Path, kind_of_archive: str
) -> None:
    tag = f"localhost/rondo-tests/{kind_of_archive}:1"
    archive = tmp_path / "image.tar"
    made = subprocess.run(["buildah", "from", "scratch"], check=True, capture_output=True, text=True).stdout.strip()
    try:
        for command in (
            ["copy", "--quiet", made, str(pod_program), "/pod"],
            ["config", "--entrypoint", '["/pod"]', made],
            ["commit", "--quiet", made, tag],
            ["push", "--quiet", tag, f"{kind_of_archive}:{archive}:{tag}"],
        ):
            subprocess.run(["buildah", *command], check=True, capture_output=True)
        assert images.load(node.layout, str(archive)) == [tag]
        assert kind.main(["load", "docker-image", tag, "--name", NAME]) == 0
    finally:
        subprocess.run(["buildah", "rm", made], check=True, capture_output=True)
        subprocess.run(["buildah", "rmi", "--force", tag], check=False, capture_output=True)
    manifest = pod(kind_of_archive, {**container("say", "loaded"), "image": tag})
    assert run_pod(node, manifest, kind_of_archive) == "loaded\n"


def test_an_image_that_is_nowhere_is_told(node: Cluster) -> None:
    with pytest.raises(LocalClusterError, match=r"image 'localhost/no-such:1': neither a file nor a tag"):
        images.load(node.layout, "localhost/no-such:1")


def test_a_second_full_node_is_told_who_has_the_machine(node: Cluster) -> None:
    with pytest.raises(LocalClusterError, match=f"'{node.name}' is this machine's full node"):
        up(ClusterSpec(name="second"))


def test_the_kind_command_knows_it(node: Cluster, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "kubeconfig"
    file.touch()
    assert kind.main(["get", "clusters"]) == 0
    assert kind.main(["get", "nodes", "--name", node.name]) == 0
    assert capsys.readouterr().out == f"{NAME}\n{NAME}-control-plane\n"
    assert kind.main(["export", "kubeconfig", "--name", NAME, "--kubeconfig", str(file)]) == 0
    assert json.loads(file.read_text())["current-context"] == f"kind-{NAME}"
    assert kind.main(["create", "cluster", "--name", NAME]) == 1
    assert "already exist for a cluster with the name" in capsys.readouterr().err
