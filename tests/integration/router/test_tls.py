"""Targets of https: whom the router trusts, and what it says when it does not."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from localcluster.certificates import Certificate, issue
from tests.integration.router.backends import backend
from tests.integration.router.process import PATIENCE, RouterProcess, graph, project
from tests.ports import free_port

Json = Any

pytestmark = pytest.mark.asyncio(loop_scope="module")

CA = "ConfigMap/corporation/ca.crt"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority of its own, and certificates that it has signed."""
    folder = tmp_path_factory.mktemp("pki")
    named = Certificate("server", "server", names=("IP:127.0.0.1",))
    issue(folder, [named, Certificate("other", "other", names=("DNS:elsewhere.example.com",))])
    return folder


def context(folder: Path, name: str = "server", *protocols: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    if protocols:
        made.set_alpn_protocols(list(protocols))
    return made


async def ask(running: RouterProcess, port: int) -> tuple[int, str]:
    async with running.session.post(f"http://127.0.0.1:{port}/", json={}) as answer:
        return answer.status, await answer.text()


async def serve(running: RouterProcess, url: str, **fields: Json) -> int:
    """Have a server asked at a port of its own."""
    port = free_port()
    node = {"name": "n", "target": {"url": url, "protocol": "JSON", **fields}}
    await running.serve([graph([node], port=port)])
    return port


async def test_a_server_that_an_authority_vouches_for_is_asked_over_kept_connections(
    running: RouterProcess, pki: Path
) -> None:
    project(running.plan.parent, {CA: (pki / "ca.crt").read_text()})
    async with backend({"size": 100_000}, context(pki)) as server:
        port = await serve(running, server.url, ca=CA)
        for _ in range(100):
            status, text = await ask(running, port)
            assert (status, len(text)) == (200, 99_999)
        assert server.connections <= 4, "one a thread"


async def test_a_server_that_nobody_vouches_for_is_not_asked(running: RouterProcess, pki: Path) -> None:
    project(running.plan.parent, {CA: (pki / "ca.crt").read_text()})
    async with (
        backend({"json": "ok"}, context(pki)) as unknown,
        backend({"json": "ok"}, context(pki, "other")) as other,
    ):
        for server, fields, words in (
            (unknown, {}, "invalid peer certificate: UnknownIssuer"),
            (other, {"ca": CA}, "certificate not valid for name"),
        ):
            status, text = await ask(running, await serve(running, server.url, **fields))
            assert status == 502
            assert words in text
            assert server.seen == []


async def test_another_authority_counts_once_the_kubelet_brings_it(
    running: RouterProcess, pki: Path, tmp_path: Path
) -> None:
    project(running.plan.parent, {})
    issue(tmp_path, [])
    async with backend({"json": "ok", "headers": {"connection": "close"}}, context(pki)) as server:
        port = await serve(running, server.url, ca=CA)
        await running.unusable({CA: "it is not there"})
        status, text = await ask(running, port)
        assert status == 502
        assert f"ca {CA}: it is not there" in text
        project(running.plan.parent, {CA: "no certificate"})
        await running.unusable({CA: "it has no certificate in PEM"})
        for folder, expected in ((tmp_path, 502), (pki, 200), (tmp_path, 502)):
            project(running.plan.parent, {CA: (folder / "ca.crt").read_text()})
            await running.unusable({})
            status, text = await ask(running, port)
            assert status == expected, text


async def test_grpc_is_asked_with_tls_and_agrees_on_http2(running: RouterProcess, pki: Path) -> None:
    project(running.plan.parent, {CA: (pki / "ca.crt").read_text()})
    spoken = asyncio.get_running_loop().create_future()

    async def serve_grpc(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        secured = writer.get_extra_info("ssl_object")
        spoken.set_result((secured.selected_alpn_protocol(), await reader.readexactly(14)))
        writer.close()

    server = await asyncio.start_server(serve_grpc, "127.0.0.1", 0, ssl=context(pki, "server", "h2"))
    async with server:
        url, port = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", free_port()
        target = {"url": url, "protocol": "OpenInference", "transport": "GRPC", "ca": CA}
        await running.serve([graph([{"name": "n", "target": target}], port=port, protocol="OpenInference")])
        tensor = {"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}
        async with running.session.post(
            f"http://127.0.0.1:{port}/v2/models/g/infer", json={"inputs": [tensor]}
        ) as said:
            assert said.status == 502
        assert await asyncio.wait_for(spoken, PATIENCE) == ("h2", b"PRI * HTTP/2.0")
