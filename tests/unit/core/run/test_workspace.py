"""The workspace of a run: made for its first job, deleted at the run's end or with the run."""

from __future__ import annotations

import pytest

from rondo.core.resources import PERSISTENT_VOLUME_CLAIM
from tests.unit.core.builders import inline_run, job
from tests.unit.core.cluster import Cluster, Operator
from tests.unit.core.run.driver import finish, job_of, start, states


@pytest.mark.parametrize(("reclaim", "left"), [({}, 1), ({"reclaim": "RunDeletion"}, 1), ({"reclaim": "RunEnd"}, 0)])
def test_it_goes_when_it_is_said_to(cluster: Cluster, operator: Operator, reclaim: dict[str, str], left: int) -> None:
    final = [job("z")]
    start(cluster, operator, inline_run(job("a"), workspace={"size": "1Gi", **reclaim}, finally_=final))
    finish(cluster, operator, "a")
    assert len(cluster.of_kind(PERSISTENT_VOLUME_CLAIM)) == 1  # until `finally` has ended too
    mounts = job_of(cluster, "z")["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {"name": "rondo-workspace", "mountPath": "/workspace"} in mounts
    finish(cluster, operator, "z")
    assert states(cluster) == {"a": "Succeeded", "z": "Succeeded"}
    assert len(cluster.of_kind(PERSISTENT_VOLUME_CLAIM)) == left
    operator.restart()
    operator.settle()
    assert len(cluster.of_kind(PERSISTENT_VOLUME_CLAIM)) == left
