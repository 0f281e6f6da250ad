"""Make a cluster, install Rondo, run the digits pipeline and ask the model that it has deployed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Final

from demo.clusters import KUBECONFIG, NAME, ROOT, Built, Cluster
from demo.commands import CommandError, follow, output, serving, show, succeeds
from demo.journal import Journal

SYSTEM: Final = "rondo-system"
RELEASE: Final = "rondo"
MARK: Final = "make demo"
"""Description of the demo's release: another's is neither changed nor removed."""

EXAMPLE: Final = ROOT / "manifests" / "examples" / "digits"
CHART: Final = ROOT / "charts" / "rondo"
KINDS: Final = "pipelines,pipelineruns,modeldeployments"


def up(cluster: Cluster, journal: Journal) -> None:
    """Do everything that is not done yet.

    Raises:
        CommandError: A step failed.
    """
    _make_cluster(cluster, journal)
    images = _build_images(journal)
    _load_images(cluster, images, journal)
    _install(cluster, images, journal)
    _apply(cluster, journal)
    _watch(cluster, journal)
    _predict(cluster, journal)
    journal.step("Done. The cluster stays; `make demo-down` removes all of it.")
    journal.detail(_hints(cluster))


def down(cluster: Cluster, journal: Journal) -> None:
    """Remove everything that `up` made.

    Raises:
        CommandError: A step failed.
    """
    if not cluster.own:
        _clear(cluster, journal)
    elif cluster.exists():
        journal.step(f"Remove cluster {cluster.name} ({cluster.title}) with all that is in it")
    else:
        journal.step(f"There is no cluster {cluster.name}: nothing to do")
    cluster.remove(journal.detail)
    journal.step("Done")


def _make_cluster(cluster: Cluster, journal: Journal) -> None:
    if not cluster.own:
        journal.step(f"Cluster: {cluster.title}, as it is")
    elif cluster.exists():
        journal.step(f"Cluster: {cluster.name} ({cluster.title}) is there")
    else:
        journal.step(f"Cluster: make {cluster.name} ({cluster.title})")
    cluster.make(journal.detail)
    cluster.kubectl("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=120s")


def _build_images(journal: Journal) -> list[Built]:
    journal.step("Images: images/build")
    built = follow([str(ROOT / "images" / "build")], lambda line: journal.detail(line.removeprefix("images: ")))
    found = []
    for line in built.splitlines():
        tag, _, archive = line.partition(" ")
        found.append(Built((tag, f"{tag.partition(':')[0]}:dev"), archive or None))
    return found


def _load_images(cluster: Cluster, images: list[Built], journal: Journal) -> None:
    missing = [image for image in images if not cluster.has(image)]
    if not missing:
        journal.step("Load: the nodes have the images")
    for image in missing:
        journal.step(f"Load: {image.tags[0]} to the nodes")
        cluster.load(image)


def _install(cluster: Cluster, images: list[Built], journal: Journal) -> None:
    values = _values(images)
    chart = [RELEASE, str(CHART), f"--namespace={SYSTEM}", *values]
    found = _release(cluster)
    if found is not None and found.get("description") != MARK:
        journal.step(f"Install: release {RELEASE} in {SYSTEM} is not the demo's; it is used as it is")
    elif found is not None and found.get("status") == "deployed" and _rendered(cluster, chart) == _deployed(cluster):
        journal.step("Install: the release is up to date")
    else:
        relative = CHART.relative_to(ROOT)
        journal.step(f"Install: helm upgrade --install {RELEASE} {relative} -n {SYSTEM} {' '.join(values)}")
        wait = ["--create-namespace", "--wait", "--timeout=180s", f"--description={MARK}"]
        _helm_or_why(cluster, ["upgrade", "--install", *chart, *wait])
    cluster.kubectl("rollout", "status", f"deployment/{RELEASE}", f"--namespace={SYSTEM}", "--timeout=120s")


def _values(images: list[Built]) -> list[str]:
    """Give the chart's values: tags by content, so that a pod is replaced exactly when its image has changed."""
    tags = {image.name: image.tags[0] for image in images}
    return [
        f"--set=image.tag={tags['rondo-operator'].partition(':')[2]}",
        f"--set=router.image.tag={tags['rondo-router'].partition(':')[2]}",
        f"--set=runtimes.sklearn.image={tags['rondo-sklearn']}",
        "--set=artifacts.size=1Gi",
    ]


def _helm(cluster: Cluster, *arguments: str) -> str:
    return output([cluster.program("helm"), *arguments], cluster.environment)


def _helm_or_why(cluster: Cluster, arguments: list[str]) -> None:
    """Run helm; if it fails, say what the operator's pods wait for, which helm does not."""
    try:
        _helm(cluster, *arguments)
    except CommandError as error:
        raise CommandError(f"{error}\n{_why(cluster)}") from error


def _why(cluster: Cluster) -> str:
    try:
        pods = cluster.kubectl("get", "pods", f"--namespace={SYSTEM}", "--output=wide")
        return pods + cluster.kubectl("get", "events", f"--namespace={SYSTEM}", "--field-selector=type=Warning")
    except CommandError as error:
        return str(error)


def _release(cluster: Cluster) -> dict[str, str] | None:
    """Give what helm knows of the release, or None if there is none."""
    status = [cluster.program("helm"), "status", RELEASE, f"--namespace={SYSTEM}", "--output=json"]
    if not succeeds(status, cluster.environment):
        return None
    info: dict[str, str] = json.loads(output(status, cluster.environment))["info"]
    return info


def _rendered(cluster: Cluster, chart: list[str]) -> str:
    version = json.loads(cluster.kubectl("version", "--output=json"))["serverVersion"]["gitVersion"]
    return _helm(cluster, "template", *chart, f"--kube-version={version}").strip()


def _deployed(cluster: Cluster) -> str:
    return _helm(cluster, "get", "manifest", RELEASE, f"--namespace={SYSTEM}").strip()


def _apply(cluster: Cluster, journal: Journal) -> None:
    pipeline = EXAMPLE / "pipeline.yaml"
    journal.step(f"Pipeline: kubectl apply -f {pipeline.relative_to(ROOT)}")
    namespace = cluster.kubectl("create", "namespace", NAME, "--dry-run=client", "--output=yaml")
    cluster.kubectl("apply", "--filename=-", stdin=namespace)
    journal.detail(cluster.kubectl("apply", f"--filename={pipeline}"))


def _watch(cluster: Cluster, journal: Journal) -> None:
    journal.step("Run: rondo watch digits")
    rondo = Path(sys.executable).with_name("rondo")
    if show([str(rondo), "watch", "pipeline/digits"], cluster.environment):
        raise CommandError("the run did not succeed; kubectl describe pipelineruns says why")


def _predict(cluster: Cluster, journal: Journal) -> None:
    program = EXAMPLE / "predict.py"
    journal.step("Predict: kubectl port-forward svc/digits :80 and")
    forward = [cluster.program("kubectl"), "port-forward", "service/digits", ":80"]
    with serving(forward, cluster.environment, r"Forwarding from (127\.0\.0\.1:\d+)", within=30) as found:
        url = f"http://{found[1]}"
        journal.detail(f"{program.relative_to(ROOT)} {url}")
        direct = ",".join(filter(None, [os.environ.get("NO_PROXY", ""), "127.0.0.1"]))
        if show([sys.executable, str(program), url], {"NO_PROXY": direct, "no_proxy": direct}):
            raise CommandError("the model did not answer")


def _hints(cluster: Cluster) -> str:
    folders = [Path(sys.executable).parent, *([cluster.programs] if cluster.programs else [])]
    lines = [f"export KUBECONFIG={KUBECONFIG}", f"export PATH={':'.join(map(str, folders))}:$PATH"]
    return "\n".join([*lines, f"kubectl get {KINDS}", "rondo watch digits"])


def _clear(cluster: Cluster, journal: Journal) -> None:
    """Remove the demo from a cluster that is not its own: its namespace, and Rondo if the demo installed it."""
    cluster.make(journal.detail)
    journal.step(f"Remove namespace {NAME}")
    cluster.kubectl("delete", "namespace", NAME, "--ignore-not-found", "--timeout=120s")
    found = _release(cluster)
    if found is None or found.get("description") != MARK:
        return
    journal.step(f"Remove release {RELEASE} of {SYSTEM}")
    _helm(cluster, "uninstall", RELEASE, f"--namespace={SYSTEM}", "--wait")
    cluster.kubectl("delete", "namespace", SYSTEM, "--timeout=120s")
    if json.loads(cluster.kubectl("get", KINDS, "--all-namespaces", "--output=json"))["items"]:
        journal.detail("the CRDs stay: other namespaces have objects of these kinds")
    else:
        cluster.kubectl("delete", "customresourcedefinitions", "--selector=app.kubernetes.io/part-of=rondo")
