"""`rondo watch`: find the run that is meant, follow it to its end, then what it deployed until that is Ready.

What serves, a graph or a model deployment, may be meant itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from http import HTTPStatus
from typing import Final

from rondo.api.base import GROUP
from rondo.cli.cluster import DEPLOYMENTS, GRAPHS, PIPELINES, RUNS, Cluster, RefusedError
from rondo.cli.errors import FAILED, CommandError
from rondo.cli.progress import Object, condition, observed, run_over, run_state, serving_state
from rondo.cli.screen import Screen

DEPLOYED_BY: Final = f"{GROUP}/deployed-by"
"""Annotation of a ModelDeployment or ModelGraph: RUN/STAGE/uid of the run that set its fields last."""

_KINDS: Final = {
    PIPELINES: {"pipeline", "pipelines", "pl"},
    RUNS: {"run", "runs", "pipelinerun", "pipelineruns", "plr"},
    GRAPHS: {"graph", "graphs", "modelgraph", "modelgraphs", "mg"},
    DEPLOYMENTS: {"model", "models", "modeldeployment", "modeldeployments", "md"},
}
_NAMES: Final = {
    PIPELINES: "Pipeline",
    RUNS: "PipelineRun",
    GRAPHS: "ModelGraph",
    DEPLOYMENTS: "ModelDeployment",
}
_SERVING: Final = (GRAPHS, DEPLOYMENTS)


def watch(cluster: Cluster, target: str | None, screen: Screen) -> int:
    """Show a run until it and what it deployed have come to an end, or what serves until it is Ready or Stalled.

    Args:
        cluster: Where it is.
        target: A pipeline, of which the newest run is meant, a run, a graph or a model deployment, also as KIND/NAME;
            None for the newest run.
        screen: Where it is shown.

    Returns:
        0 if the run succeeded and what it deployed is Ready, or what serves is; 1 if it failed or is Stalled.

    Raises:
        CommandError: It cannot be found out, with code 2; or it was deleted or cannot run, with code 1.
    """
    plural, name = find(cluster, target)
    if plural in _SERVING:
        return _follow_serving(cluster, [(plural, name)], screen)
    if plural == PIPELINES:
        name = _newest_run(cluster, name, screen)
    run = _follow_run(cluster, name, screen)
    if run_state(run) == "Failed":
        return FAILED
    deployed = [(each, name) for each in _SERVING for name in deployed_by(run, _served(cluster, each, screen))]
    return _follow_serving(cluster, deployed, screen)


def find(cluster: Cluster, target: str | None) -> tuple[str, str]:
    """Find what is meant, as plural of its kind and name; a bare name is the first thing of that name.

    Raises:
        CommandError: There is no such thing.
    """
    if target is None:
        return RUNS, _newest_of_namespace(cluster)
    plural, name = parse_target(target)
    forbidden: RefusedError | None = None
    for each in _NAMES if plural is None else (plural,):
        try:
            if cluster.get(each, name) is not None:
                return each, name
        except RefusedError as error:
            # A bare name may be that of a model deployment, which comes after graphs.
            if plural is not None or each != GRAPHS:
                raise
            forbidden = error if error.status == HTTPStatus.FORBIDDEN else None
    if forbidden is not None:
        raise forbidden
    *others, last = _NAMES.values()
    what = f"{', '.join(others)} or {last}" if plural is None else _NAMES[plural]
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
        raise CommandError(
            f"{target}: {kind} cannot be watched, only pipeline/NAME, run/NAME, graph/NAME or model/NAME"
        )
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


def deployed_by(run: Object, serving: Sequence[Object]) -> list[str]:
    """Give the names of what serves and whose fields were set last by this run."""
    uid = run["metadata"]["uid"]
    return [
        each["metadata"]["name"]
        for each in serving
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


def _served(cluster: Cluster, plural: str, screen: Screen) -> Sequence[Object]:
    """List what serves; a run is good also where there are no graphs, or somebody may not see them."""
    try:
        return cluster.list(plural)
    except RefusedError as error:
        if plural != GRAPHS:
            raise
        if error.status == HTTPStatus.FORBIDDEN:
            screen.note(f"{error}; graphs are not followed")
        return ()


def _follow_serving(cluster: Cluster, serving: Sequence[tuple[str, str]], screen: Screen) -> int:
    """Follow one after the other: all must become Ready, so the order does not matter."""
    found: dict[tuple[str, str], Object] = {}
    for plural, name in serving:
        for thing in _changes(cluster, plural, name, screen):
            found[plural, name] = thing
            screen.serving(list(found.values()))
            if serving_state(thing) != "Progressing":
                break
    return 0 if all(serving_state(each) == "Ready" for each in found.values()) else FAILED


def _changes(cluster: Cluster, plural: str, name: str, screen: Screen) -> Iterator[Object]:
    for thing in cluster.follow(plural, name, lost=_lost(screen)):
        if thing is None:
            raise CommandError(f"{_NAMES[plural]} {name} was deleted", FAILED)
        yield thing


def _lost(screen: Screen) -> Callable[[str], None]:
    return lambda why: screen.note(f"{why}; trying again")
