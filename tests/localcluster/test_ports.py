import socket
from dataclasses import fields

import pytest

from localcluster.errors import LocalClusterError
from localcluster.ports import BLOCK, BLOCKS, FIRST, candidates, choose_ports
from localcluster.spec import Ports


def test_every_block_lies_in_the_range_and_is_tried_once() -> None:
    found = candidates("any")
    assert sorted(found) == [FIRST + BLOCK * index for index in range(BLOCKS)]
    assert max(found) + BLOCK <= 65536


def test_names_start_apart() -> None:
    assert len({candidates(f"cluster-{index}")[0] for index in range(20)}) > 10


def test_each_port_of_a_cluster_is_its_own_and_in_its_block() -> None:
    ports = Ports(FIRST)
    names = [name for name in vars(Ports) if isinstance(vars(Ports)[name], property)]
    values = [getattr(ports, name) for name in names]
    assert len(fields(Ports)) == 1
    assert len(set(values)) == len(names)
    assert all(FIRST <= value < FIRST + BLOCK for value in values)


def test_a_recorded_block_is_left_alone() -> None:
    first = choose_ports("a", set())
    assert choose_ports("a", {first.base}) != first


def test_a_block_with_a_port_in_use_is_left_alone() -> None:
    free = choose_ports("a", set())
    with socket.create_server(("127.0.0.1", free.apiserver)):
        assert choose_ports("a", set()) != free


def test_no_block_left_is_told() -> None:
    with pytest.raises(LocalClusterError, match="no 16 free ports"):
        choose_ports("a", candidates("a"))
