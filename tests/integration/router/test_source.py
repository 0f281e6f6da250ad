"""The plan as a ConfigMap that is watched through the API of a real API server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from localcluster.cluster import Cluster
from tests.integration.router.backends import backend
from tests.integration.router.process import graph, router
from tests.ports import free_port

Json = Any


def plan(api_server: Cluster, namespace: str, revision: str, graphs: list[Json]) -> None:
    """Write the plan as the operator does."""
    text = json.dumps({"revision": revision, "graphs": graphs})
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "plan"}, "data": {"plan.json": text}}
    api_server.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(body))


async def test_a_plan_in_a_config_map_is_served_within_two_seconds(
    router_binary: Path, tmp_path: Path, api_server: Cluster, namespace: str
) -> None:
    source = ["--plan-configmap", "plan", "--namespace", namespace]
    environment = {"KUBECONFIG": str(api_server.kubeconfig)}
    async with (
        backend({"json": "a"}) as server,
        router(router_binary, tmp_path, *source, environment=environment) as own,
    ):
        assert (await own.told("/readyz"))[0] == 503, "there is no plan yet"
        port = free_port()
        nodes = [{"name": "n", "target": {"url": server.url, "protocol": "JSON"}}]
        plan(api_server, namespace, "one", [graph(nodes, port=port)])
        await own.reported("one")
        assert (await own.told("/readyz"))[0] == 200
        async with own.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
            assert await answer.json() == "a"
        for revision in ("two", "three", "four"):
            plan(api_server, namespace, revision, [graph(nodes, port=port, revision=revision)])
            begun = time.monotonic()
            assert (await own.reported(revision))["graphs"] == {"g": revision}
            assert time.monotonic() - begun < 2
        api_server.kubectl("delete", "configmap", "plan", "-n", namespace)
        async with own.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
            assert await answer.json() == "a", "without a plan the last one is kept"
