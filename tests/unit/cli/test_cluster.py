"""What is made of the API server's answers, and of kubeconfigs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from rondo.cli.cluster import GRAPHS, Cluster, RefusedError, Reply, connect
from rondo.cli.errors import CommandError

WHY: dict[str, tuple[bytes, str]] = {
    "the API server's words": (json.dumps({"kind": "Status", "message": "no\nsuch pod"}).encode(), "no such pod"),
    "other JSON": (b"[1]", "[1]"),
    "no JSON": (b"<html>\n bad\n</html>", "<html> bad </html>"),
    "a whole page": (b"bad gateway " * 1000, "bad gateway " * 25 + "... (11999 characters)"),
    "many words of the API server": (json.dumps({"message": "x" * 1000}).encode(), "x" * 300 + "... (1000 characters)"),
}


@pytest.mark.parametrize(("body", "want"), WHY.values(), ids=WHY.keys())
def test_a_refusal_is_one_line_of_some_length(body: bytes, want: str) -> None:
    assert Reply(502, {}, body).why == want


class Api:
    """An API server that gives one answer, or raises one error."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def list_namespaced_custom_object(self, *_: Any, **__: Any) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def cluster(answer: Any) -> Cluster:
    return Cluster(Api(answer), "team")  # type: ignore[arg-type]


STRANGE: dict[str, tuple[Any, str]] = {
    "text": ("<html>", "the API server's answer is no list of modelgraphs.rondo.dev"),
    "a list": ([1], "the API server's answer is no list of modelgraphs.rondo.dev"),
    "an object": ({"kind": "Status"}, "the API server's answer is no list of modelgraphs.rondo.dev"),
    "JSON that is none": (json.JSONDecodeError("Expecting value", "<html>", 0), "the API server's answer is no JSON"),
    "a name that cannot be sent": (
        UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed"),
        "the API server cannot be asked so: .*surrogates not allowed",
    ),
}


@pytest.mark.parametrize(("answer", "want"), STRANGE.values(), ids=STRANGE.keys())
def test_what_is_no_answer_of_an_api_server_is_told(answer: Any, want: str) -> None:
    with pytest.raises(CommandError, match=want):
        cluster(answer).list(GRAPHS)


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_has_its_status(status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        cluster(ApiException(status)).list(GRAPHS)
    assert caught.value.status == status


NO_CONFIG = {
    "no YAML": b"a: [1",
    "text": b"hello",
    "a list": b"[1, 2]",
    "bytes": b"\xff\xfe\x00",
    "of another shape": b"{kind: Config, current-context: c, clusters: 3}",
    "a context that is none": b"{kind: Config, current-context: c, contexts: [{name: c, context: x}]}",
}


@pytest.mark.parametrize("text", NO_CONFIG.values(), ids=NO_CONFIG.keys())
def test_a_file_that_is_no_kubeconfig_is_told(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(text)
    with pytest.raises(CommandError, match=f"^kubeconfig: .*{file}") as caught:
        connect(context=None, kubeconfig=str(file), namespace=None)
    assert "\n" not in str(caught.value)
