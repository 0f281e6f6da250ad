"""Credentials of targets: they come and change as the kubelet brings them, and what cannot be used is told."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.router.backends import backend
from tests.integration.router.process import PATIENCE, RouterProcess, graph, project
from tests.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_credential_that_is_not_there_is_told_until_the_kubelet_brings_it(running: RouterProcess) -> None:
    folder, port = running.plan.parent, free_port()
    url = f"http://127.0.0.1:{port}/"
    async with backend({"json": "ok"}) as server:
        header = {"name": "authorization", "file": "vendor/token", "prefix": "Bearer "}
        node = {"name": "n", "target": {"url": server.url, "protocol": "JSON", "headers": [header]}}
        report = await running.reported(running.write([graph([node], port=port)]))
        assert report["unusable"] == {"vendor/token": "it is not there"}
        async with running.session.post(url, json={}) as answer:
            assert answer.status == 502
            assert "credential vendor/token: it is not there" in await answer.text()
        project(folder, {"vendor/token": "one\ntwo"})
        words = "it is no value of a header: it has more than one line, or is not text"
        await running.unusable({"vendor/token": words})
        project(folder, {"vendor/token": "first\n"})
        await running.unusable({})
        async with running.session.post(url, json={}) as answer:
            assert answer.status == 200
        project(folder, {"vendor/token": "second"})
        async with asyncio.timeout(PATIENCE):
            while server.seen[-1].headers["authorization"] != "Bearer second":
                async with running.session.post(url, json={}) as answer:
                    assert answer.status == 200
        tokens = [seen.headers["authorization"] for seen in server.seen]
        assert tokens == sorted(tokens), "the former is not used again"
