from pathlib import Path

import pytest

from localcluster.components import Layout, all_components, controllers, nodes, store
from localcluster.places import Places
from localcluster.spec import ClusterSpec, Ports, Record

CONTROL_PLANE = ["etcd", "kube-apiserver"]
CONTROLLERS = ["kube-controller-manager", "kube-scheduler"]
REAL_NODE = ["containerd", "kubelet", "kube-proxy", "coredns"]


def layout(**options: object) -> Layout:
    spec = ClusterSpec(**options)  # type: ignore[arg-type]
    return Layout(Record(spec, Ports(61008), Path("/programs")), Places(Path("/state/test")))


def command(made: Layout, name: str) -> tuple[str, ...]:
    return next(component.command for component in all_components(made) if component.name == name)


@pytest.mark.parametrize(
    ("options", "want"),
    [
        ({}, [*CONTROL_PLANE, *CONTROLLERS, *REAL_NODE, "storage"]),
        ({"fake_nodes": 1}, [*CONTROL_PLANE, *CONTROLLERS, *REAL_NODE, "kwok", "storage"]),
        ({"control_plane_only": True}, [*CONTROL_PLANE, *CONTROLLERS]),
        ({"control_plane_only": True, "controllers": False}, CONTROL_PLANE),
        ({"control_plane_only": True, "fake_nodes": 1}, [*CONTROL_PLANE, *CONTROLLERS, "kwok", "storage"]),
    ],
)
def test_which_components_run(options: dict[str, object], want: list[str]) -> None:
    made = layout(**options)
    assert [component.name for component in all_components(made)] == want
    assert all_components(made) == [*store(made), *controllers(made), *nodes(made)]


@pytest.mark.parametrize(
    ("options", "component", "want"),
    [
        ({}, "etcd", "--unsafe-no-fsync"),
        ({}, "kube-apiserver", "--authorization-mode=Node,RBAC"),
        ({}, "kube-apiserver", "--advertise-address=10.244.0.1"),
        ({"control_plane_only": True}, "kube-apiserver", "--bind-address=127.0.0.1"),
        ({"control_plane_only": True}, "kube-apiserver", "--endpoint-reconciler-type=none"),
        (
            {"control_plane_only": True, "controllers": False},
            "kube-apiserver",
            "--disable-admission-plugins=ServiceAccount",
        ),
        ({"audit": True}, "kube-apiserver", "--audit-log-path=/state/test/logs/audit.log"),
        ({}, "kube-controller-manager", "--concurrent-job-syncs=50"),
        ({}, "kube-controller-manager", "--kube-api-qps=1000"),
        ({}, "kube-controller-manager", "--kube-api-burst=2000"),
        ({}, "kubelet", "--hostname-override=rondo-control-plane"),
        ({"fake_nodes": 1}, "kwok", "--config=/programs/stages/pod-complete.yaml"),
        ({"fake_nodes": 1, "fake_stages": "/mine.yaml"}, "kwok", "--config=/mine.yaml"),
        ({"fake_nodes": 1}, "kwok", "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake"),
    ],
)
def test_a_component_has_the_flag(options: dict[str, object], component: str, want: str) -> None:
    assert want in command(layout(**options), component)


@pytest.mark.parametrize(
    ("options", "component", "unwanted"),
    [
        ({}, "kube-apiserver", "--disable-admission-plugins"),
        ({}, "kube-apiserver", "--audit"),
        ({}, "kube-apiserver", "--endpoint-reconciler-type"),
        ({"fake_nodes": 1, "fake_stages": "/mine.yaml"}, "kwok", "--config=/programs/stages/pod-"),
    ],
)
def test_a_component_has_no_such_flag(options: dict[str, object], component: str, unwanted: str) -> None:
    assert not [flag for flag in command(layout(**options), component) if flag.startswith(unwanted)]


def test_further_flags_come_last_so_that_they_win() -> None:
    made = layout(flags={"kube-controller-manager": ("--concurrent-job-syncs=5",)})
    assert command(made, "kube-controller-manager")[-1] == "--concurrent-job-syncs=5"
    assert "--concurrent-job-syncs=5" not in command(made, "kube-scheduler")


def test_every_port_in_use_is_of_the_block() -> None:
    made = layout(fake_nodes=1, audit=True)
    for component in all_components(made):
        if component.probe:
            assert ":610" in component.probe.url
