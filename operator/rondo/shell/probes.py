"""Probes and metrics over HTTP.

/livez fails when a reconcile or a watch has hung for minutes: a restart would help. /readyz is fine when everything is
listed and this process leads, or when it stands by for the one that does. /metrics is for Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rondo.runtime.engine import Engine


@dataclass
class Health:
    """What the probes speak of.

    Attributes:
        engine: The engine, once this process leads.
        standing_by: Whether another process leads.
    """

    engine: Engine | None = None
    standing_by: bool = False

    def live(self) -> str:
        """Say what hangs, or nothing."""
        return self.engine.trouble if self.engine is not None else ""

    def ready(self) -> str:
        """Say what is missing, or nothing."""
        if self.standing_by:
            return ""
        return "" if self.engine is not None and self.engine.synced.is_set() else "not everything has been listed yet"


class EngineCollector(Collector):
    """Reads the engine's counters when Prometheus asks; names follow controller-runtime where it has them."""

    def __init__(self, health: Health) -> None:
        self._health = health

    def collect(self) -> Iterator[Metric]:
        """Give all metrics."""
        engine = self._health.engine
        leading = GaugeMetricFamily("leader_election_master_status", "Whether this process leads.")
        leading.add_metric([], float(engine is not None))
        yield leading
        if engine is None:
            return
        yield GaugeMetricFamily("workqueue_depth", "Keys that wait for a worker.", value=len(engine.queue))
        total = CounterMetricFamily("controller_runtime_reconcile", "Reconciles.", value=engine.reconciler.reconciles)
        yield total
        requests = CounterMetricFamily("rest_client_requests", "Requests.", labels=["method", "kind", "code"])
        for (verb, kind, code), count in engine.client.requests.items():
            requests.add_metric([verb, kind, str(code)], count)
        yield requests


async def serve(health: Health, port: int) -> web.AppRunner:
    """Serve the probes until the runner is cleaned up."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(health))

    async def livez(_: web.Request) -> web.Response:
        return _answer(health.live())

    async def readyz(_: web.Request) -> web.Response:
        return _answer(health.ready())

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, port=port).start()
    return runner


def _answer(trouble: str) -> web.Response:
    return web.Response(text=trouble or "ok", status=500 if trouble else 200)
