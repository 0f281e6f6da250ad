"""Bringing a cluster up, step after step: files, the host's side, components in their order, first objects.

Each step is a no-op where it is done already, so that `bring_up` completes what a crash or a reboot left.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from localcluster import addresses, certificates, documents, host, images, processes
from localcluster.api import Client, ConflictError
from localcluster.commands import attempt
from localcluster.components import Component, Layout, all_components, controllers, nodes, store
from localcluster.errors import LocalClusterError
from localcluster.spec import ClusterSpec, write_atomically

Report = Callable[[str], None]

START_SECONDS = 120
_POLL_SECONDS = 0.05
_LOG_LINES = 15


def is_up(layout: Layout) -> bool:
    """Return whether every component runs and is ready."""
    wanted = all_components(layout)
    running = processes.find_components(layout.places.folder)
    return {component.name for component in wanted} <= running.keys() and all(
        _is_component_ready(layout, each) for each in wanted
    )


def bring_up(layout: Layout, report: Report) -> None:
    """Make the cluster whole and wait until a pod could run on it.

    Raises:
        LocalClusterError: A component does not come up; the text holds the end of its log.
    """
    started = time.monotonic()
    report(f"starting cluster {layout.spec.name!r}")
    _write_files(layout)
    if layout.spec.full_node:
        host.prepare(layout)
    start(layout, store(layout))
    start(layout, controllers(layout))
    _populate(layout)
    if layout.spec.full_node:
        _start_runtime(layout)
    start(layout, nodes(layout))
    _wait_for_objects(layout)
    _check_alive(layout)
    report(f"cluster {layout.spec.name!r} is ready after {time.monotonic() - started:.1f} s")


def _write_files(layout: Layout) -> None:
    certificates.issue(layout.places.certificates, documents.certificates(layout))
    for file, content in documents.configuration(layout).items():
        write_atomically(layout.places.configuration / file, content)
    context = f"localcluster-{layout.spec.name}"
    write_atomically(layout.places.kubeconfig, documents.render_kubeconfig(layout, "admin", context=context))


def start(layout: Layout, wanted: Sequence[Component]) -> None:
    """Start what does not run yet, all at once, and wait until each is ready.

    Raises:
        LocalClusterError: One ended or is not ready in time; the text holds the end of its log.
    """
    folder = layout.places.folder
    running = processes.find_components(folder)
    for component in wanted:
        if component.name not in running:
            processes.start(folder, component.name, component.command, log=layout.places.log(component.name))
    deadline = time.monotonic() + START_SECONDS
    for component in wanted:
        _wait_for_component(layout, component, deadline)


def _wait_for_component(layout: Layout, component: Component, deadline: float) -> None:
    while True:
        _check_running(layout, component)
        if _is_component_ready(layout, component):
            return
        if time.monotonic() > deadline:
            raise LocalClusterError(
                f"{component.name} is not ready after {START_SECONDS} s{_last_lines(layout, component)}",
            )
        time.sleep(_POLL_SECONDS)


def _is_component_ready(layout: Layout, component: Component) -> bool:
    return component.probe is None or Client(layout.places.certificates).is_ok(component.probe.url)


def _check_running(layout: Layout, component: Component) -> None:
    if not processes.is_running(layout.places.folder, component.name):
        raise LocalClusterError(f"{component.name} ended at its start{_last_lines(layout, component)}")


def _check_alive(layout: Layout) -> None:
    """Check once more what has no probe of its own, or was ready for a moment only."""
    for component in all_components(layout):
        _check_running(layout, component)


def _last_lines(layout: Layout, component: Component) -> str:
    log = layout.places.log(component.name)
    lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
    return "\n".join([f"; the end of {log}:", *lines])


def _start_runtime(layout: Layout) -> None:
    """Start containerd and give it the pause image, before a kubelet asks for either."""
    start(layout, [component for component in nodes(layout) if component.name == "containerd"])
    command = ["ctr", "--address", str(layout.places.socket), "version"]
    _wait_for("containerd to answer", lambda: attempt(command).returncode == 0)
    images.load_pause(layout)


def _populate(layout: Layout) -> None:
    """Create the objects that every cluster of its kind has."""
    objects: list[tuple[str, dict[str, Any]]] = []
    if layout.spec.full_node or layout.spec.fake_nodes:
        objects.append(("/apis/storage.k8s.io/v1/storageclasses", documents.storage_class()))
    objects += [("/api/v1/nodes", documents.fake_node(layout, index)) for index in range(layout.spec.fake_nodes)]
    client = Client(layout.places.certificates)
    for path, body in objects:
        with suppress(ConflictError):
            client.post(layout.server + path, body)


def _wait_for_objects(layout: Layout) -> None:
    """Wait until a pod could be created and would be scheduled."""
    client = Client(layout.places.certificates)
    if layout.spec.controllers:
        path = "/api/v1/namespaces/default/serviceaccounts/default"
        _wait_for("the default service account", lambda: client.get(layout.server + path) is not None)
    for node in expected_nodes(layout.spec):
        url = f"{layout.server}/api/v1/nodes/{node}"
        _wait_for(f"node {node} to be Ready", partial(_is_node_ready, client, url))


def _is_node_ready(client: Client, url: str) -> bool:
    return _is_ready(client.get(url))


def _wait_for(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise LocalClusterError(f"waited {START_SECONDS} s for {what}")
        time.sleep(_POLL_SECONDS)


def expected_nodes(spec: ClusterSpec) -> list[str]:
    """Return the names of the cluster's nodes."""
    real = [addresses.node(spec.name)] if spec.full_node else []
    return real + [addresses.fake_node(spec.name, index) for index in range(spec.fake_nodes)]


def _is_ready(node: dict[str, Any] | None) -> bool:
    """Return whether a node's object says that it is Ready."""
    conditions = (node or {}).get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
