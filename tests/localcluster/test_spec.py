from dataclasses import replace
from pathlib import Path

import pytest

from localcluster.errors import LocalClusterError
from localcluster.places import check_name
from localcluster.spec import (
    ClusterSpec,
    Ports,
    Record,
    check_spec,
    differences,
    dump_record,
    parse_record,
    read_record,
)

RECORD = Record(
    spec=ClusterSpec(name="a", fake_nodes=2, flags={"etcd": ("--one", "--two")}),
    ports=Ports(61008),
    programs=Path("/programs"),
    ip_forward="0",
)


def test_a_record_survives_its_file(tmp_path: Path) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(dump_record(RECORD))
    assert read_record(file) == RECORD


def test_no_file_is_no_record(tmp_path: Path) -> None:
    assert read_record(tmp_path / "cluster.json") is None


@pytest.mark.parametrize("text", ["", "{", "{}", '{"spec": {"flags": {}, "colour": "red"}}'])
def test_what_is_no_record_is_told_with_its_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "cluster.json"
    file.write_text(text)
    with pytest.raises(LocalClusterError, match=str(file)):
        read_record(file)


def test_differences_name_each_field() -> None:
    wanted = replace(RECORD.spec, fake_nodes=3, audit=True)
    assert differences(RECORD.spec, wanted) == ["fake_nodes is 2, not 3", "audit is False, not True"]
    assert differences(RECORD.spec, parse_record(dump_record(RECORD)).spec) == []


@pytest.mark.parametrize("name", ["a", "rondo", "a-1", "a" * 40])
def test_good_names(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a.b", "a/b", "..", "a" * 41])
def test_bad_names(name: str) -> None:
    with pytest.raises(LocalClusterError, match="cluster name"):
        check_name(name)


@pytest.mark.parametrize(
    "spec",
    [
        ClusterSpec(),
        ClusterSpec(fake_nodes=2, fake_gpus=8),
        ClusterSpec(control_plane_only=True, controllers=False),
        ClusterSpec(fake_nodes=1, fake_stages=__file__),
    ],
)
def test_what_can_be_honoured(spec: ClusterSpec) -> None:
    assert check_spec(spec) == spec


@pytest.mark.parametrize(
    ("spec", "want"),
    [
        (ClusterSpec(controllers=False), "controllers is False: a real node needs them"),
        (ClusterSpec(fake_nodes=-1), "fake_nodes is -1"),
        (ClusterSpec(fake_gpus=1), "fake_gpus is 1 but fake_nodes is 0"),
        (ClusterSpec(fake_nodes=1, fake_stages="/no/such"), "fake_stages is '/no/such': no such file"),
    ],
)
def test_what_cannot_be_honoured_is_told_by_field(spec: ClusterSpec, want: str) -> None:
    with pytest.raises(LocalClusterError, match=want):
        check_spec(spec)
