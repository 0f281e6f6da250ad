from typing import Any

import pytest

from localcluster import kind


@pytest.mark.parametrize(
    ("arguments", "want"),
    [
        (["get", "clusters"], {"verb": kind._get_clusters}),
        (
            ["create", "cluster", "--name=a", "--kubeconfig=/f"],
            {"verb": kind._create_cluster, "name": "a", "image": None},
        ),
        (["create", "cluster", "--name", "a", "--config", "c.yaml", "--wait", "60s", "--retain"], {"retain": True}),
        (["delete", "cluster", "--name=a", "--kubeconfig=/f"], {"verb": kind._delete_cluster, "name": "a"}),
        (["load", "docker-image", "--name", "a", "one:1"], {"verb": kind._load_tags, "sources": ["one:1"]}),
        (["load", "docker-image", "one:1", "two:1", "--name", "a"], {"name": "a", "sources": ["one:1", "two:1"]}),
        (["load", "image-archive", "a.tar"], {"verb": kind._load_archives}),
        (["export", "kubeconfig", "--name", "a"], {"verb": kind._export_kubeconfig}),
        (["-q", "delete", "clusters", "--all"], {"verb": kind._delete_clusters, "quiet": True}),
        (["version"], {"verb": kind._version}),
    ],
)
def test_what_is_understood(arguments: list[str], want: dict[str, object]) -> None:
    options = vars(kind.build_parser().parse_args(arguments))
    assert {name: options[name] for name in want} == want


@pytest.mark.parametrize(
    "arguments",
    [["build", "node-image"], ["create", "cluster", "--nam", "a"], ["completion", "bash"], ["get"], []],
)
def test_what_is_refused_as_unknown(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        kind.build_parser().parse_args(arguments)
    assert ended.value.code == 2
    assert "usage: kind" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("image", "want"),
    [
        ("kindest/node:v1.35.4", True),
        ("kindest/node:v1.35.4@sha256:0123", True),
        ("kindest/node:v1.34.0", False),
        ("kindest/node", False),
    ],
)
def test_which_images_are_honoured(image: str, *, want: bool) -> None:
    assert (kind.refuse_image(image) is None) is want


@pytest.mark.parametrize(
    ("config", "want"),
    [
        ({}, []),
        ({"name": "a", "nodes": [{"role": "control-plane", "image": "kindest/node:v1.35.4"}]}, []),
        ({"networking": {"podSubnet": "10.244.0.0/24"}}, []),
        ({"nodes": [{"role": "control-plane"}, {"role": "worker"}]}, ["nodes: has", "nodes[1].role"]),
        ({"nodes": [{"role": "control-plane", "extraMounts": [{}]}]}, ["nodes[0].extraMounts"]),
        ({"featureGates": {"A": True}}, ["featureGates"]),
        ({"networking": {"disableDefaultCNI": True}}, ["networking.disableDefaultCNI"]),
    ],
)
def test_what_a_configuration_cannot_ask_for(config: dict[str, Any], want: list[str]) -> None:
    refused = kind.refuse_config(config)
    assert len(refused) == len(want)
    assert all(text.startswith(field) for text, field in zip(refused, want, strict=True))


def test_no_clusters_are_said_as_kind_says_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert kind.main(["get", "clusters"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "No kind clusters found.\n")


def test_a_cluster_that_is_not_there_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert kind.main(["load", "docker-image", "a:1", "--name", "absent"]) == 1
    assert capsys.readouterr().err == 'ERROR: no nodes found for cluster "absent"\n'


def test_an_image_of_another_version_is_refused_before_anything_is_made(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert kind.main(["create", "cluster", "--image", "kindest/node:v1.2.3"]) == 1
    assert "kindest/node:v1.2.3" in capsys.readouterr().err


def test_deleting_what_is_not_there_succeeds() -> None:
    assert kind.main(["delete", "cluster", "--name", "absent"]) == 0


def test_deleting_without_names_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert kind.main(["delete", "clusters"]) == 1
    assert "no cluster names given" in capsys.readouterr().err
