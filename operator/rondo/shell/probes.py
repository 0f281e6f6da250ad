"""Probes and metrics over HTTP.

/livez fails when a reconcile or a watch has hung for minutes: a restart would help. /readyz is fine when everything is
listed and this process leads, or when it stands by for the one that does. /metrics is for Prometheus.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily
from prometheus_client.registry import Collector

from rondo.runtime.engine import Engine
from rondo.runtime.workers import Workers


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
        yield from _of_queue(engine)
        yield from _of_workers(engine.workers)
        yield from _of_api(engine)


def _of_queue(engine: Engine) -> Iterator[Metric]:
    queue = engine.queue
    yield GaugeMetricFamily("workqueue_depth", "Keys that wait for a worker.", value=len(queue))
    yield CounterMetricFamily("workqueue_adds", "Keys that were put into the queue.", value=queue.adds)
    yield CounterMetricFamily("workqueue_retries", "Keys that were put back after a failure.", value=queue.retries)
    longest = engine.workers.longest
    yield GaugeMetricFamily("workqueue_longest_running_processor_seconds", "The longest running look.", value=longest)


def _of_workers(workers: Workers) -> Iterator[Metric]:
    yield GaugeMetricFamily("controller_runtime_max_concurrent_reconciles", "Workers.", value=workers.size)
    yield GaugeMetricFamily("controller_runtime_active_workers", "Workers that work.", value=workers.busy)
    total = CounterMetricFamily("controller_runtime_reconcile", "Reconciles.", labels=["controller", "result"])
    errors = CounterMetricFamily("controller_runtime_reconcile_errors", "Failed reconciles.", labels=["controller"])
    times = SummaryMetricFamily("controller_runtime_reconcile_time_seconds", "Their time.", labels=["controller"])
    for (kind, result), count in workers.results.items():
        total.add_metric([kind, result], count)
    for kind, seconds in workers.seconds.items():
        errors.add_metric([kind], workers.results[kind, "error"])
        times.add_metric([kind], sum(n for (of, _), n in workers.results.items() if of == kind), seconds)
    yield from (total, errors, times)


def _of_api(engine: Engine) -> Iterator[Metric]:
    requests = CounterMetricFamily("rest_client_requests", "Requests.", labels=["method", "kind", "code"])
    for (verb, kind, code), count in engine.client.requests.items():
        requests.add_metric([verb, kind, str(code)], count)
    silence = GaugeMetricFamily("rondo_watch_silence_seconds", "Since a watch last gave anything.", labels=["kind"])
    for reflector in engine.reflectors:
        silence.add_metric([reflector.selector.resource.kind], reflector.silence)
    objects = GaugeMetricFamily("rondo_store_objects", "Objects in memory.", labels=["kind"])
    for resource, count in engine.store.counts().items():
        objects.add_metric([resource.kind], count)
    yield from (requests, silence, objects)


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
