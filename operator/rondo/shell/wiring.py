"""Which planner works on which kind, and which watched objects concern it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rondo.core import names
from rondo.core.pipeline.planner import observe_pipeline, pipeline_of_run, plan_pipeline
from rondo.core.plan import Object, Resource
from rondo.core.resources import (
    JOB,
    MODEL_DEPLOYMENT,
    PERSISTENT_VOLUME_CLAIM,
    PIPELINE,
    PIPELINE_RUN,
    POD,
)
from rondo.core.run.controller import observe_run, run_of_child, run_of_target
from rondo.core.run.planner import plan_run
from rondo.core.run.snapshot import RunSnapshot
from rondo.core.run.trims import trim_job, trim_pod
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View
from rondo.runtime.controller import Controller
from rondo.runtime.routes import Route, itself


def build_controllers(settings: PlannerSettings) -> Mapping[Resource, Controller[Any]]:
    """Give the planner of each kind."""

    def look_at_run(view: View, key: Key) -> RunSnapshot | None:
        return observe_run(view, key, settings)

    controllers: tuple[Controller[Any], ...] = (
        Controller(PIPELINE, observe_pipeline, plan_pipeline),
        Controller(PIPELINE_RUN, look_at_run, plan_run),
    )
    return {controller.resource: controller for controller in controllers}


def primary_routes() -> Sequence[Route]:
    """Give the routes of our own kinds; kopf watches them."""
    return (
        Route(PIPELINE, owners=lambda thing: [itself(thing, PIPELINE)]),
        Route(PIPELINE_RUN, owners=_keys_of_run),
        Route(MODEL_DEPLOYMENT, owners=_keys_of_model_deployment),
    )


def child_routes() -> Sequence[Route]:
    """Give the routes of what we create; the engine watches them by our label."""
    return (
        Route(JOB, names.MANAGED_SELECTOR, owners=run_of_child, trim=trim_job),
        Route(POD, names.MANAGED_SELECTOR, owners=run_of_child, trim=trim_pod),
        Route(PERSISTENT_VOLUME_CLAIM, names.MANAGED_SELECTOR),
    )


def _keys_of_run(run: Object) -> list[Key]:
    return [itself(run, PIPELINE_RUN), *pipeline_of_run(run)]


def _keys_of_model_deployment(target: Object) -> list[Key]:
    return [itself(target, MODEL_DEPLOYMENT), *run_of_target(target)]
