"""`rondo watch`: find the run that is meant, follow it to its end, then what it deployed until that is Ready."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from rondo.api.base import GROUP
from rondo.cli.cluster import DEPLOYMENTS, PIPELINES, RUNS, Cluster
from rondo.cli.errors import FAILED, CommandError
from rondo.cli.progress import Object, condition, deployment_state, observed, run_over, run_state
from rondo.cli.screen import Screen

DEPLOYED_BY: Final = f"{GROUP}/deployed-by"
"""Annotation of a ModelDeployment: RUN/STAGE/uid of the run that set its fields last."""

_KINDS: Final = {
    PIPELINES: {"pipeline", "pipelines", "pl"},
    RUNS: {"run", "runs", "pipelinerun", "pipelineruns", "plr"},
}


def watch(cluster: Cluster, target: str | None, screen: Screen) -> int:
    """Show a run until it and what it deployed have come to an end.

    Args:
        cluster: Where it is.
        target: A pipeline, of which the newest run is meant, or a run, also as KIND/NAME; None for the newest run.
        screen: Where it is shown.

    Returns:
        0 if the run succeeded and what it deployed is Ready, else 1.

    Raises:
        CommandError: It cannot be found out.
    """
    run = _follow_run(cluster, find_run(cluster, target, screen), screen)
    if run_state(run) == "Failed":
        return FAILED
    return _follow_deployments(cluster, run, screen)


def find_run(cluster: Cluster, target: str | None, screen: Screen) -> str:
    """Find the name of the run that is meant, waiting for one that is about to be made.

    Raises:
        CommandError: There is no such thing, or no run will come of it.
    """
    if target is None:
        return _newest_of_namespace(cluster)
    plural, name = parse_target(target)
    if plural != RUNS and cluster.get(PIPELINES, name) is not None:
        return _newest_run(cluster, name, screen)
    if plural != PIPELINES and cluster.get(RUNS, name) is not None:
        return name
    what = {None: "Pipeline or PipelineRun", PIPELINES: "Pipeline", RUNS: "PipelineRun"}[plural]
    raise CommandError(f"there is no {what} {name} in namespace {cluster.namespace}")


def parse_target(target: str) -> tuple[str | None, str]:
    """Split KIND/NAME into the plural of the kind and the name; the plural is None for a bare name.

    Raises:
        CommandError: The kind cannot be watched.
    """
    kind, slash, name = target.rpartition("/")
    if not slash:
        return None, target
    plural = next((plural for plural, words in _KINDS.items() if kind.partition(".")[0].lower() in words), None)
    if plural is None:
        raise CommandError(f"{target}: {kind} cannot be watched, only pipeline/NAME or run/NAME")
    return plural, name


def newest_run(pipeline: Object) -> str | None:
    """Give the name of a Pipeline's newest run, or None while the operator has yet to look at the spec as it is now.

    Raises:
        CommandError: No run will come of the spec as it is now.
    """
    if not observed(pipeline):
        return None
    name = pipeline["metadata"]["name"]
    ready = condition(pipeline, "Ready")
    if condition(pipeline, "Accepted").get("status") == "False" or ready.get("reason") == "MissingParams":
        raise CommandError(f"Pipeline {name} cannot run: {ready.get('message', '')}", FAILED)
    last = pipeline["status"].get("lastRun")
    if last is None and condition(pipeline, "Reconciling").get("status") != "True":
        raise CommandError(f"Pipeline {name} has no run yet; with trigger Manual a PipelineRun has to be made")
    return None if last is None else str(last["name"])


def deployed_by(run: Object, deployments: Sequence[Object]) -> list[str]:
    """Give the names of the ModelDeployments whose fields were set last by this run."""
    uid = run["metadata"]["uid"]
    return [
        each["metadata"]["name"]
        for each in deployments
        if each["metadata"].get("annotations", {}).get(DEPLOYED_BY, "").endswith(f"/{uid}")
    ]


def _newest_of_namespace(cluster: Cluster) -> str:
    runs = sorted(cluster.list(RUNS), key=lambda run: run["metadata"]["creationTimestamp"])
    if not runs:
        raise CommandError(f"there is no PipelineRun in namespace {cluster.namespace}")
    return str(runs[-1]["metadata"]["name"])


def _newest_run(cluster: Cluster, name: str, screen: Screen) -> str:
    for pipeline in cluster.follow(PIPELINES, name, lost=_lost(screen)):
        if pipeline is None:
            break
        found = newest_run(pipeline)
        if found is not None:
            return found
        screen.note(_awaited(pipeline))
    raise CommandError(f"Pipeline {name} was deleted", FAILED)


def _awaited(pipeline: Object) -> str:
    name = pipeline["metadata"]["name"]
    if not observed(pipeline):
        generation = pipeline["metadata"].get("generation")
        return f"waiting for the operator to look at generation {generation} of Pipeline {name}"
    return f"waiting for a run of Pipeline {name}: {condition(pipeline, 'Ready').get('message', '')}"


def _follow_run(cluster: Cluster, name: str, screen: Screen) -> Object:
    for run in cluster.follow(RUNS, name, lost=_lost(screen)):
        if run is None:
            break
        screen.run(run)
        if run_over(run):
            return run
    raise CommandError(f"PipelineRun {name} was deleted", FAILED)


def _follow_deployments(cluster: Cluster, run: Object, screen: Screen) -> int:
    """Follow one after the other: all must become Ready, so the order does not matter."""
    names = deployed_by(run, cluster.list(DEPLOYMENTS))
    found: dict[str, Object] = {}
    for name in names:
        for deployment in _changes(cluster, name, screen):
            found[name] = deployment
            screen.deployments(list(found.values()))
            if deployment_state(deployment) != "Progressing":
                break
    return 0 if all(deployment_state(each) == "Ready" for each in found.values()) else FAILED


def _changes(cluster: Cluster, name: str, screen: Screen) -> Iterator[Object]:
    for deployment in cluster.follow(DEPLOYMENTS, name, lost=_lost(screen)):
        if deployment is None:
            raise CommandError(f"ModelDeployment {name} was deleted", FAILED)
        yield deployment


def _lost(screen: Screen) -> Callable[[str], None]:
    return lambda why: screen.note(f"{why}; trying again")
