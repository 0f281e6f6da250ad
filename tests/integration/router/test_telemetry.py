"""Traces: a span a request and one a node, sent to a collector; without one the client's context is passed on."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from tests.integration.router.backends import backend
from tests.integration.router.process import graph, router
from tests.ports import free_port

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


async def test_a_request_and_its_nodes_are_spans_of_the_clients_trace(router_binary: Path, tmp_path: Path) -> None:
    sent: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        assert request.path == "/v1/traces"
        sent.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", take)
    runner = web.AppRunner(app)
    await runner.setup()
    collector = free_port()
    await web.TCPSite(runner, "127.0.0.1", collector).start()
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector}"}
    async with backend({"status": 500}) as bad, backend({"json": 1}) as good:
        async with router(router_binary, tmp_path, environment=environment) as own:
            port = free_port()
            nodes = [
                {"name": "first-of-two", "fallback": [{"node": "broken-one"}, {"node": "good-one"}]},
                {"name": "broken-one", "target": {"url": bad.url, "protocol": "JSON"}},
                {"name": "good-one", "target": {"url": good.url, "protocol": "JSON"}},
            ]
            await own.serve([graph(nodes, port=port, name="traced-graph")])
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            async with own.session.post(f"http://127.0.0.1:{port}/", json={}, headers=headers) as answer:
                assert answer.status == 200
        spans = {server.seen[0].headers["traceparent"] for server in (bad, good)}
    await runner.cleanup()
    assert len(spans) == 2
    for span in spans:
        assert span.startswith(f"00-{TRACE}-")
        assert PARENT not in span
    told = b"".join(sent)
    for name in ("traced-graph", "first-of-two", "broken-one", "good-one", "rondo-router", "status 500"):
        assert name.encode() in told
    assert bytes.fromhex(TRACE) in told
    assert all(bytes.fromhex(span.split("-")[2]) in told for span in spans)
