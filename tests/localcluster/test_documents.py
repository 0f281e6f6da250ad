import json
import tomllib
from pathlib import Path

import pytest

from localcluster import documents
from localcluster.certificates import Certificate, issue, render_request
from localcluster.components import Layout
from localcluster.mounts import parse
from localcluster.network import render_table
from localcluster.places import Places
from localcluster.spec import ClusterSpec, Ports, Record


def layout(folder: Path, **options: object) -> Layout:
    spec = ClusterSpec(**options)  # type: ignore[arg-type]
    return Layout(Record(spec, Ports(61008), Path("/programs")), Places(folder))


def test_containerd_keeps_to_its_folder(tmp_path: Path) -> None:
    config = tomllib.loads(documents.render_containerd(layout(tmp_path)))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    paths = [config["root"], config["state"], config["grpc"]["address"], cri["cni"]["conf_dir"]]
    paths.append(cri["containerd"]["runtimes"]["runc"]["options"]["Root"])
    assert all(Path(path).is_relative_to(tmp_path) for path in paths)
    assert cri["restrict_oom_score_adj"] is True
    assert cri["sandbox_image"] == documents.PAUSE_IMAGE


@pytest.mark.parametrize(
    ("resolver", "want"),
    [("nameserver 10.0.0.2\n", True), ("# nameserver\nsearch example.org\n", False), ("", False)],
)
def test_dns_forwards_only_to_a_resolver_of_the_host(tmp_path: Path, resolver: str, *, want: bool) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(resolver)
    forward = documents.has_upstream(file)
    assert forward is want
    assert ("forward ." in documents.render_corefile(layout(tmp_path), forward=forward)) is want


def test_fake_nodes_beside_a_real_one_take_no_ordinary_pods(tmp_path: Path) -> None:
    beside = documents.fake_node(layout(tmp_path, fake_gpus=8), 0)
    alone = documents.fake_node(layout(tmp_path, control_plane_only=True), 0)
    assert beside["spec"]["taints"][0]["effect"] == "NoSchedule"
    assert beside["status"]["allocatable"]["nvidia.com/gpu"] == "8"
    assert alone["spec"] == {}
    assert "nvidia.com/gpu" not in alone["status"]["allocatable"]


def test_a_request_names_user_group_and_addresses() -> None:
    text = render_request(Certificate("file", "user", group="group", names=("IP:127.0.0.1", "DNS:localhost")))
    assert "CN = user\nO = group\n" in text
    assert "subjectAltName = IP:127.0.0.1,DNS:localhost" in text
    assert "subjectAltName" not in render_request(Certificate("file", "user"))


def test_certificates_are_issued_once(tmp_path: Path) -> None:
    certificate = Certificate("admin", "admin", group="system:masters")
    issue(tmp_path, [certificate])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    issue(tmp_path, [certificate])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert {"ca.crt", "ca.key", "admin.crt", "admin.key", "service-account.key"} <= before.keys()
    assert not [name for name in before if name.endswith(".draft")]


def test_a_kubeconfig_holds_all_it_needs(tmp_path: Path) -> None:
    made = layout(tmp_path, control_plane_only=True)
    issue(made.places.certificates, [Certificate("admin", "admin")])
    config = json.loads(documents.render_kubeconfig(made, "admin", context="here"))
    assert config["current-context"] == "here"
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:61010"
    assert config["users"][0]["user"].keys() == {"client-certificate-data", "client-key-data"}


MOUNTS = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:40 / /state/a/run rw - tmpfs tmpfs rw
31 30 0:41 / /state/a/run/root\\040fs rw - overlay overlay rw
32 22 0:42 / /state/ab rw - tmpfs tmpfs rw
"""


def test_mounts_are_listed_innermost_first_and_of_the_folder_only() -> None:
    assert parse(MOUNTS, Path("/state/a")) == [Path("/state/a/run/root fs"), Path("/state/a/run")]


def test_the_table_can_be_made_anew() -> None:
    text = render_table("a")
    assert text.index("delete table ip rondo-a") < text.index("masquerade")
