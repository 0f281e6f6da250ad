"""`python -m tests.recorded`: record what a real kubelet's pods say of each trouble, for the tests of root causes.

Makes a cluster by localcluster, provokes every case of `tests.recorded.cases`, and writes the pod and the Events to
`tests/unit/core/recorded/NAME.yaml`. To be run again for a new release of
Kubernetes; the difference is what it changed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import yaml

from localcluster import cluster, toolchain
from localcluster.cli import main as localcluster
from tests.e2e.conftest import ROOT, Kubectl
from tests.recorded.cases import CASES, IMAGE, LABELS, URGENT, Case, Object, Seen

NAME = "rondo-recorded"
INTO = ROOT / "tests" / "unit" / "core" / "recorded"
WITHIN = 150.0
"""Seconds for a case; the controller that notices a lost node takes 50 of them."""

FINALIZER = "example.com/recorded"
"""Keeps a pod until its end is recorded."""


def main(wanted: list[str]) -> int:
    """Record the wanted cases, or all."""
    if localcluster(["up", "--name", NAME]):
        return 1
    try:
        kubectl = Kubectl(str(toolchain.programs(print) / "kubectl"), cluster.get(NAME).kubeconfig)
        names = wanted or list(CASES)
        image = _load_image()
        alone = [name for name in names if CASES[name].meanwhile]
        with ThreadPoolExecutor(4) as pool:
            missed = sum(pool.map(lambda name: _record(kubectl, name, image), [n for n in names if n not in alone]))
        missed += sum(_record(kubectl, name, image) for name in alone)
    finally:
        localcluster(["down", "--name", NAME])
    return 1 if missed else 0


def _load_image() -> str:
    tag, *archive = subprocess.check_output([ROOT / "images" / "build", "rondo-operator"], text=True).split()
    if localcluster(["load-image", NAME, *(archive or [tag])]):
        raise SystemExit(1)
    return tag


def _record(kubectl: Kubectl, name: str, image: str) -> bool:
    """Provoke a case and write what is seen; tell whether it was missed."""
    case, here = CASES[name], kubectl.within(name)
    kubectl("create", "namespace", name)
    node = kubectl.items("nodes")[0]["metadata"]["name"]
    _wait(f"{name}: service account", lambda: here.get("serviceaccount", "default"))
    if case.before:
        here.apply(*[_placed(item, image, node) for item in case.before])
    action = ACTIONS[case.meanwhile] if case.meanwhile else _nothing
    seen = Seen({}, ())
    try:
        with action(here, node):
            here.apply(_placed(_owner(case, name), image, node))
            deadline = time.monotonic() + WITHIN
            while not case.told(seen := _look(here, name, case, seen)):
                if time.monotonic() > deadline:
                    print(f"{name}: not told within {WITHIN:.0f} s", json.dumps(seen.status), file=sys.stderr)
                    return True
                time.sleep(0.1)  # between two looks
        _write(name, seen, node)
    finally:
        _release(here)
        kubectl("delete", "namespace", name, "--wait=false")
    return False


def _owner(case: Case, name: str) -> Object:
    if not case.job:
        metadata = {"name": name, "labels": LABELS, "finalizers": [FINALIZER]}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": case.pod}
    template = {"metadata": {"labels": LABELS}, "spec": case.pod}
    body = {"backoffLimit": 0, "template": template}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": body}


def _placed(item: Object, image: str, node: str) -> Object:
    placed: Object = json.loads(json.dumps(item).replace(f'"{IMAGE}"', f'"{image}"').replace('"NODE"', f'"{node}"'))
    return placed


def _look(here: Kubectl, name: str, case: Case, before: Seen) -> Seen:
    pod = {} if case.job else here.get("pod", name)
    events = here.items("events", f"--field-selector=involvedObject.name={name}", "--sort-by=.lastTimestamp")
    return Seen(pod or before.pod, events)


def _release(here: Kubectl) -> None:
    for pod in here.items("pods"):
        here(
            "patch", "pod", pod["metadata"]["name"], "--type=merge", '-p={"metadata":{"finalizers":null}}', check=False
        )


def _write(name: str, seen: Seen, node: str) -> None:
    record: dict[str, Any] = {"pod": _trimmed(seen.pod), "events": [_told(event) for event in seen.events]}
    text = yaml.safe_dump(record, sort_keys=False, width=110).replace(node, "node-1")
    state = str(cluster.get(NAME).layout.places.folder)
    INTO.mkdir(exist_ok=True)
    text = re.sub(r"on\s+[\d.]+:53", "on 10.0.0.1:53", text.replace(state, "/var/lib"))
    (INTO / f"{name}.yaml").write_text(text)
    print(f"recorded {name}")


def _trimmed(pod: Object) -> Object:
    """Leave out what no cause lies in: defaults, times, addresses and identities."""
    if not pod:
        return {}
    metadata = {key: pod["metadata"][key] for key in ("name", "deletionTimestamp") if key in pod["metadata"]}
    status = {key: pod["status"][key] for key in ("phase", "reason", "message") if key in pod["status"]}
    conditions = [_pick(c, "type", "status", "reason", "message") for c in pod["status"].get("conditions", [])]
    kinds = [kind for kind in ("initContainerStatuses", "containerStatuses") if kind in pod["status"]]
    containers = {kind: [_container(c) for c in pod["status"][kind]] for kind in kinds}
    spec = CASES[pod["metadata"]["name"]].pod
    return {"metadata": metadata, "spec": spec, "status": {**status, "conditions": conditions, **containers}}


def _container(status: Object) -> Object:
    picked = _pick(status, "name", "image", "ready", "started", "restartCount")
    states = {kind: _state(status[kind]) for kind in ("state", "lastState") if status.get(kind)}
    return {**picked, **states}


def _state(state: Object) -> Object:
    return {kind: _pick(value, "reason", "message", "exitCode", "signal") for kind, value in state.items()}


def _pick(item: Object, *keys: str) -> Object:
    return {key: item[key] for key in keys if key in item}


def _told(event: Object) -> Object:
    return _pick(event, "type", "reason", "message")


# What is done to the cluster meanwhile --------------------------------------------------------------------------------


@contextlib.contextmanager
def _nothing(_: Kubectl, __: str) -> Iterator[None]:
    yield


@contextlib.contextmanager
def _cordon(here: Kubectl, node: str) -> Iterator[None]:
    here("cordon", node)
    yield
    here("uncordon", node)


@contextlib.contextmanager
def _taint(here: Kubectl, node: str) -> Iterator[None]:
    here("taint", "nodes", node, "dedicated=gpu:NoSchedule")
    yield
    here("taint", "nodes", node, "dedicated-")


@contextlib.contextmanager
def _restrict(here: Kubectl, _: str) -> Iterator[None]:
    here("label", "namespace", here.namespace, "pod-security.kubernetes.io/enforce=restricted")
    yield


@contextlib.contextmanager
def _once_it_runs(here: Kubectl, act: Callable[[], object]) -> Iterator[None]:
    """Do something when the pod runs, beside the wait for the trouble."""

    def wait_and_act() -> None:
        name = here.namespace
        _wait(f"{name} runs", lambda: here.get("pod", name).get("status", {}).get("phase") == "Running")
        act()

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(wait_and_act)
        yield
        done.result()


@contextlib.contextmanager
def _evict(here: Kubectl, _: str) -> Iterator[None]:
    name = here.namespace
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": name}}
    path = f"/api/v1/namespaces/{name}/pods/{name}/eviction"
    with _once_it_runs(here, lambda: here("create", "--raw", path, "-f", "-", stdin=json.dumps(body))):
        yield


@contextlib.contextmanager
def _preempt(here: Kubectl, _: str) -> Iterator[None]:
    def act() -> None:
        image = here.get("pod", here.namespace)["spec"]["containers"][0]["image"]
        here.apply(_placed(URGENT, image, ""))

    with _once_it_runs(here, act):
        yield


@contextlib.contextmanager
def _evacuate(here: Kubectl, node: str) -> Iterator[None]:
    with _once_it_runs(here, lambda: here("taint", "nodes", node, "broken=yes:NoExecute")):
        yield
    here("taint", "nodes", node, "broken-")


@contextlib.contextmanager
def _silence_node(here: Kubectl, _: str) -> Iterator[None]:
    with _without_kubelet(here, lambda: None):
        yield


@contextlib.contextmanager
def _delete_node(here: Kubectl, node: str) -> Iterator[None]:
    with _without_kubelet(here, lambda: here("delete", "node", node)):
        yield


@contextlib.contextmanager
def _without_kubelet(here: Kubectl, act: Callable[[], object]) -> Iterator[None]:
    def stop() -> None:
        cluster.get(NAME).stop_component("kubelet")
        act()

    try:
        with _once_it_runs(here, stop):
            yield
    finally:
        cluster.get(NAME).start_component("kubelet")
    _wait("the node is back", lambda: "Ready=True" in here("get", "nodes", f"-o=jsonpath={CONDITIONS}"))


CONDITIONS = "{range .items[*].status.conditions[*]}{.type}={.status} {end}"
ACTIONS = {
    "cordon": _cordon,
    "taint": _taint,
    "restrict": _restrict,
    "evict": _evict,
    "preempt": _preempt,
    "evacuate": _evacuate,
    "silence-node": _silence_node,
    "delete-node": _delete_node,
}


def _wait(what: str, look: Callable[[], object]) -> None:
    deadline = time.monotonic() + WITHIN
    while not look():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {WITHIN:.0f} s: {what}")
        time.sleep(0.1)  # between two looks


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("case", nargs="*", metavar="CASE", help="only these")
    sys.exit(main(parser.parse_args().case))
