"""Which planner works on which kind, and which watched objects concern it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rondo.core import names
from rondo.core.deployment.controller import (
    deployment_of_child,
    deployments_of_graph,
    deployments_of_runtime,
    observe_deployment,
    trim_metadata,
)
from rondo.core.deployment.controller import trim_pod as trim_serving_pod
from rondo.core.deployment.planner import plan_deployment
from rondo.core.deployment.runtime import observe_runtime, plan_runtime
from rondo.core.deployment.snapshot import DeploymentSnapshot
from rondo.core.garbage.sweep import ClaimSnapshot, claim_of_sweep, observe_claim, plan_claim
from rondo.core.modelgraph.controller import (
    graph_of_service,
    graphs_counted,
    graphs_of_graph,
    graphs_of_router,
    graphs_of_runtime,
    graphs_of_slice,
    graphs_of_target,
    observe_graph,
    service_of_slice,
    trim_service,
    trim_slice,
)
from rondo.core.modelgraph.planner import plan_graph
from rondo.core.pipeline.planner import observe_pipeline, pipeline_of_run, plan_pipeline
from rondo.core.plan import Object, Resource
from rondo.core.resources import (
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    JOB,
    MODEL_DEPLOYMENT,
    MODEL_GRAPH,
    MODEL_RUNTIME,
    PERSISTENT_VOLUME_CLAIM,
    PIPELINE,
    PIPELINE_RUN,
    POD,
    SERVICE,
)
from rondo.core.router.observed import ROUTER_COUNTS, ROUTER_REPORT, report_address, router_of_child
from rondo.core.router.planner import RouterSnapshot, observe_router, plan_router
from rondo.core.router.render import KINDS
from rondo.core.run.controller import observe_run, run_of_child, run_of_target
from rondo.core.run.news import is_minor_job, is_minor_pod
from rondo.core.run.planner import plan_run
from rondo.core.run.snapshot import RunSnapshot
from rondo.core.run.trims import trim_job, trim_pod
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View
from rondo.runtime.controller import Controller
from rondo.runtime.listener import Source
from rondo.runtime.routes import Route, itself

_SERVING: Final = f"{names.MANAGED_SELECTOR},{names.MODEL_DEPLOYMENT}"
"""What belongs to model deployments; the frozen copies of runs are ControllerRevisions too, and not kept in memory."""


_ROUTING: Final = f"{names.MANAGED_SELECTOR},{names.ROUTER}"
"""What belongs to routers."""


def build_controllers(settings: PlannerSettings) -> Mapping[Resource, Controller[Any]]:
    """Give the planner of each kind."""

    def look_at_run(view: View, key: Key) -> RunSnapshot | None:
        return observe_run(view, key, settings)

    def look_at_deployment(view: View, key: Key) -> DeploymentSnapshot | None:
        return observe_deployment(view, key, settings)

    def look_at_claim(view: View, key: Key) -> ClaimSnapshot | None:
        return observe_claim(view, key, settings)

    def look_at_router(view: View, key: Key) -> RouterSnapshot | None:
        return observe_router(view, key, settings)

    controllers: tuple[Controller[Any], ...] = (
        Controller(PIPELINE, observe_pipeline, plan_pipeline),
        Controller(PIPELINE_RUN, look_at_run, plan_run),
        Controller(MODEL_DEPLOYMENT, look_at_deployment, plan_deployment),
        Controller(MODEL_RUNTIME, observe_runtime, plan_runtime),
        Controller(MODEL_GRAPH, observe_graph, plan_graph),
        Controller(CONFIG_MAP, look_at_router, plan_router),
        Controller(PERSISTENT_VOLUME_CLAIM, look_at_claim, plan_claim),
    )
    return {controller.resource: controller for controller in controllers}


def primary_routes() -> Sequence[Route]:
    """Give the routes of our own kinds; kopf watches them."""
    return (
        Route(PIPELINE, owners=lambda thing: [itself(thing, PIPELINE)]),
        Route(PIPELINE_RUN, owners=_keys_of_run),
        Route(MODEL_DEPLOYMENT, owners=_keys_of_model_deployment, watchers=graphs_of_target),
        Route(MODEL_GRAPH, owners=_keys_of_model_graph, watchers=_keys_around_graph),
        Route(MODEL_RUNTIME, owners=lambda thing: [itself(thing, MODEL_RUNTIME)], watchers=_keys_over_runtime),
    )


def child_routes() -> Sequence[Route]:
    """Give the routes of what we create; the engine watches them by our label."""
    return (
        Route(JOB, names.MANAGED_SELECTOR, owners=_keys_of_job, trim=trim_job, minor=is_minor_job),
        Route(
            POD,
            names.MANAGED_SELECTOR,
            owners=_keys_of_pod,
            watchers=graphs_of_router,
            trim=_trim_pod,
            minor=is_minor_pod,
        ),
        Route(
            PERSISTENT_VOLUME_CLAIM,
            names.MANAGED_SELECTOR,
            owners=lambda claim: [itself(claim, PERSISTENT_VOLUME_CLAIM)],
        ),
        Route(
            DEPLOYMENT,
            names.MANAGED_SELECTOR,
            owners=_keys_of_deployment,
            watchers=graphs_of_router,
            trim=trim_metadata,
        ),
        Route(CONTROLLER_REVISION, _SERVING, owners=deployment_of_child, trim=trim_metadata),
        # Any Service may be a target of a graph, and only its EndpointSlices tell whether it answers (decision 18).
        Route(SERVICE, owners=_keys_of_service, watchers=graphs_of_target, trim=trim_service),
        Route(ENDPOINT_SLICE, owners=service_of_slice, watchers=graphs_of_slice, trim=trim_slice),
        Route(CONFIG_MAP, _ROUTING, owners=router_of_child, watchers=graphs_of_router, trim=trim_metadata),
        *(
            Route(resource, _ROUTING, owners=router_of_child, trim=trim_metadata)
            for resource in KINDS
            if resource not in {CONFIG_MAP, DEPLOYMENT}
        ),
    )


def told_routes() -> Sequence[tuple[Sequence[Route], Source]]:
    """Give the routes of what pods tell, with where they do: which revisions a router serves, and what it counted."""
    report = Route(ROUTER_REPORT, owners=router_of_child, watchers=graphs_of_router)
    counts = Route(ROUTER_COUNTS, watchers=graphs_counted)
    return (((report, counts), Source(ROUTER_REPORT, report_address, {"counts": ROUTER_COUNTS})),)


def _keys_of_job(job: Object) -> list[Key]:
    return [*run_of_child(job), *claim_of_sweep(job)]


def _keys_of_pod(pod: Object) -> list[Key]:
    return [*run_of_child(pod), *deployment_of_child(pod), *router_of_child(pod), *claim_of_sweep(pod)]


def _keys_of_deployment(deployment: Object) -> list[Key]:
    return [*deployment_of_child(deployment), *router_of_child(deployment)]


def _keys_of_service(service: Object) -> list[Key]:
    return [*deployment_of_child(service), *graph_of_service(service)]


def _keys_around_graph(graph: Object, view: View) -> list[Key]:
    return [*graphs_of_graph(graph, view), *deployments_of_graph(graph, view)]


def _keys_over_runtime(runtime: Object, view: View) -> list[Key]:
    return [*deployments_of_runtime(runtime, view), *graphs_of_runtime(runtime, view)]


def _trim_pod(pod: Object) -> Object:
    """Keep of a pod what the planner of its owner reads."""
    serves = {names.MODEL_DEPLOYMENT, names.KEPT, names.ROUTER} & pod["metadata"].get("labels", {}).keys()
    return trim_serving_pod(pod) if serves else trim_pod(pod)


def _keys_of_run(run: Object) -> list[Key]:
    return [itself(run, PIPELINE_RUN), *pipeline_of_run(run)]


def _keys_of_model_deployment(target: Object) -> list[Key]:
    return [itself(target, MODEL_DEPLOYMENT), *run_of_target(target)]


def _keys_of_model_graph(graph: Object) -> list[Key]:
    return [itself(graph, MODEL_GRAPH), *run_of_target(graph)]
