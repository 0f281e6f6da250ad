"""Which planner works on which kind, and which watched objects concern it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rondo.core import names
from rondo.core.deployment import controller as deployments
from rondo.core.pipeline.planner import observe_pipeline, pipeline_of_run, plan_pipeline
from rondo.core.plan import Object, Resource
from rondo.core.resources import (
    DEPLOYMENT,
    JOB,
    MODEL_DEPLOYMENT,
    MODEL_RUNTIME,
    PERSISTENT_VOLUME_CLAIM,
    PIPELINE,
    PIPELINE_RUN,
    POD,
    SERVICE,
)
from rondo.core.run.controller import observe_run, run_of_child, run_of_target
from rondo.core.run.planner import plan_run
from rondo.core.run.trims import trim_job, trim_pod
from rondo.core.settings import PlannerSettings
from rondo.core.view import Key, View
from rondo.runtime.controller import Controller
from rondo.runtime.routes import Route, itself


def build_controllers(settings: PlannerSettings) -> Mapping[Resource, Controller[Any]]:
    """Give the planner of each kind."""

    def look_at_run(view: View, key: Key) -> Any:
        return observe_run(view, key, settings)

    def look_at_deployment(view: View, key: Key) -> Any:
        return deployments.observe_deployment(view, key, settings)

    controllers: tuple[Controller[Any], ...] = (
        Controller(PIPELINE, observe_pipeline, plan_pipeline),
        Controller(PIPELINE_RUN, look_at_run, plan_run),
        Controller(MODEL_DEPLOYMENT, look_at_deployment, deployments.plan_deployment),
        Controller(MODEL_RUNTIME, deployments.observe_runtime, deployments.plan_runtime),
    )
    return {controller.resource: controller for controller in controllers}
