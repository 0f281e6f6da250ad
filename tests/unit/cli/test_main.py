"""The command itself, as a process: exit codes, where words go, and that it starts quickly."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rondo.version import __version__

RONDO = Path(sys.executable).with_name("rondo")


def rondo(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    found = {**os.environ, "KUBECONFIG": "/nowhere", **environment}
    return subprocess.run([RONDO, *arguments], input=stdin, capture_output=True, text=True, env=found, check=False)


def test_version() -> None:
    done = rondo("version")
    assert (done.returncode, done.stdout) == (0, f"{__version__}\n")


def test_help_names_the_commands() -> None:
    done = rondo("--help", COLUMNS="100")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("watch", "graph", "lint", "import", "operator", "version"))


def test_lint_puts_findings_on_stdout_and_the_summary_on_stderr() -> None:
    done = rondo("lint", "-", stdin="apiVersion: rondo.dev/v1alpha1\nkind: Pipelin\nmetadata: {name: x}\n")
    want = "-:2: Pipelin/x: kind: there is no kind Pipelin (did you mean Pipeline?)\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, want, "1 object checked: 1 problem\n")


def test_lint_of_nothing_wrong() -> None:
    assert rondo("lint", "-", stdin="kind: Pod\n").returncode == 0


def test_lint_of_a_file_that_is_not() -> None:
    done = rondo("lint", "/nowhere/x.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rondo: /nowhere/x.yaml: cannot be read")


def test_operator_without_a_cluster_says_so_in_a_line() -> None:
    done = rondo("operator")
    assert done.returncode == 2
    assert done.stderr.startswith("rondo: no cluster: ")
    assert done.stderr.count("\n") == 1


def test_watch_without_a_cluster_says_what_to_set() -> None:
    done = rondo("watch")
    assert done.returncode == 2
    assert done.stderr.startswith("rondo: no cluster: ")
    assert "set KUBECONFIG or --kubeconfig" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("graph", "test-graph"),
        ("graph", "-n", "team", "x"),
        ("graph", "-n", "test", "x"),
        ("graph", "--namespace=team", "x"),
        ("graph", "-n", "team", "show", "x"),
        ("graph", "show", "test"),
        ("graph", "x", "-w"),
        ("graph", "-w", "x"),
        ("-n", "team", "graph", "x"),
    ],
)
def test_graph_takes_a_name_or_a_command(arguments: tuple[str, ...]) -> None:
    done = rondo(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rondo: no cluster: ")


@pytest.mark.parametrize("before", [("-n", "team"), ("--namespace=team",), ("--context", "test"), ("-o", "json")])
def test_options_may_stand_before_the_command(before: tuple[str, ...]) -> None:
    done = rondo("graph", *before, "test", "x", "-f", "-", stdin="{")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("rondo: -: is no request: ")


def test_graph_by_itself_says_what_it_takes() -> None:
    done = rondo("graph", "--help", COLUMNS="100")
    assert done.returncode == 0
    assert all(word in done.stdout for word in ("NAME", "show", "test"))


def test_graph_that_is_watched_is_a_table() -> None:
    done = rondo("graph", "x", "--watch", "-o", "json")
    assert (done.returncode, done.stderr) == (
        2,
        "rondo: --watch draws a table again and again: leave out --once and -o\n",
    )


def test_a_request_that_is_none_is_told_before_anything_is_asked() -> None:
    done = rondo("graph", "test", "x", "-f", "-", stdin="{")
    assert done.returncode == 2
    assert done.stderr.startswith("rondo: -: is no request: ")


@pytest.mark.parametrize("server", ["https://127.0.0.1:1", "https://nowhere.invalid:6443"])
def test_watch_of_a_cluster_that_does_not_answer(tmp_path: Path, server: str) -> None:
    file = tmp_path / "config"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    file.write_text(json.dumps(config))
    done = rondo("watch", "digits", KUBECONFIG=str(file))
    assert done.returncode == 2
    assert done.stderr.startswith("rondo: the API server does not answer: ")
    assert done.stderr.count("\n") == 1
    other = rondo("watch", "--context", "d", KUBECONFIG=str(file))
    assert (other.returncode, "Expected object with name d" in other.stderr) == (2, True)


@contextlib.contextmanager
def refusing() -> Iterator[tuple[dict[str, str], list[str]]]:
    """A server that refuses every GET; gives it as a cluster of a kubeconfig, and the paths that were asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield {"server": f"http://127.0.0.1:{server.server_port}"}, asked
        server.shutdown()


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (("watch",), "of-the-context"),
        (("-n", "above", "watch"), "above"),
        (("-n", "above", "watch", "-n", "own"), "own"),
        (("--namespace", "above", "graph", "x"), "above"),
        (("-n", "above", "graph", "-n", "own", "x"), "own"),
        (("-n", "above", "graph", "test", "x", "-f", "-"), "above"),
        (("--context", "other", "graph", "x"), "of-the-other"),
        (("--context", "nowhere", "graph", "x", "--context", "other"), "of-the-other"),
    ],
)
def test_which_cluster_may_stand_before_the_command(tmp_path: Path, arguments: tuple[str, ...], want: str) -> None:
    with refusing() as (cluster, asked):
        file = tmp_path / "config"
        namespaces = {"c": "of-the-context", "other": "of-the-other"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "contexts": [
                {"name": name, "context": {"cluster": "c", "user": "u", "namespace": namespace}}
                for name, namespace in namespaces.items()
            ],
            "users": [{"name": "u", "user": {"token": "t"}}],
        }
        file.write_text(json.dumps(config))
        done = rondo("--kubeconfig", str(file), *arguments, stdin="{}")
    assert done.returncode == 2
    assert [path.split("/")[5] for path in asked[:1]] == [want]


@contextlib.contextmanager
def answering(body: str) -> Iterator[str]:
    """A server that answers everything with a body of JSON; gives its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.mark.parametrize(("encoding", "out"), [("utf-8", "中…"), ("latin-1", "??"), ("ascii", None)])
def test_an_answer_in_an_encoding_that_does_not_have_it(encoding: str, out: str | None) -> None:
    with answering('"中…"') as url:
        done = rondo("graph", "test", "g", "-f", "-", "--url", url, stdin="{}", PYTHONIOENCODING=encoding)
        told = rondo("graph", "test", "g", "-f-", "-ojson", "--url", url, stdin="{}", PYTHONIOENCODING=encoding)
    assert (done.returncode, told.returncode) == (0, 0)
    assert out is None or done.stdout == f"{out}\n"
    assert json.loads(told.stdout)["answer"] == "中…"


def test_half_a_character() -> None:
    with answering(r'"x\ud83d"') as url:
        done = rondo("graph", "test", "g", "-f", "-", "--url", url, stdin="{}")
    assert (done.returncode, done.stdout) == (0, "x?\n")


@pytest.mark.parametrize("header", ["x y: a", "x: 中", "x: a\ny: b"])
def test_a_header_that_is_none_is_told(header: str) -> None:
    done = rondo("graph", "test", "g", "-f", "-", "--url", "http://127.0.0.1:1/", "-H", header, stdin="{}")
    assert done.returncode == 2
    assert done.stderr.startswith("rondo: -H ")
    assert done.stderr.count("\n") == 1


def test_a_kubeconfig_that_is_no_yaml_is_told(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("a: [1")
    done = rondo("graph", "g", KUBECONFIG=str(file))
    assert done.returncode == 2
    assert done.stderr.startswith(f"rondo: kubeconfig: {file} is none: ")
    assert done.stderr.count("\n") == 1


def test_kubectl_plugin_calls_itself_so(tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-rondo"
    plugin.symlink_to(RONDO)
    done = subprocess.run([plugin, "watch", "a", "b"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "kubectl rondo watch" in done.stderr


def test_nothing_heavy_is_imported_before_a_command_needs_it() -> None:
    heavy = "{'kubernetes', 'kopf', 'pydantic', 'cel', 'aiohttp', 'yaml'}"
    program = f"import rondo.cli.main, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
