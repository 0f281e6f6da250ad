"""The kinds of the Kubernetes API that Rondo reads or writes."""

from __future__ import annotations

from typing import Final

from rondo.api.base import GROUP, VERSION
from rondo.core.plan import Resource

PIPELINE: Final = Resource(GROUP, VERSION, "Pipeline", "pipelines")
PIPELINE_RUN: Final = Resource(GROUP, VERSION, "PipelineRun", "pipelineruns")
MODEL_DEPLOYMENT: Final = Resource(GROUP, VERSION, "ModelDeployment", "modeldeployments")
MODEL_GRAPH: Final = Resource(GROUP, VERSION, "ModelGraph", "modelgraphs")
MODEL_RUNTIME: Final = Resource(GROUP, VERSION, "ModelRuntime", "modelruntimes", namespaced=False)
APPROVAL: Final = Resource(GROUP, VERSION, "Approval", "approvals")

POD: Final = Resource("", "v1", "Pod", "pods")
SERVICE: Final = Resource("", "v1", "Service", "services")
CONFIG_MAP: Final = Resource("", "v1", "ConfigMap", "configmaps")
SECRET: Final = Resource("", "v1", "Secret", "secrets")
SERVICE_ACCOUNT: Final = Resource("", "v1", "ServiceAccount", "serviceaccounts")
PERSISTENT_VOLUME_CLAIM: Final = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
JOB: Final = Resource("batch", "v1", "Job", "jobs")
DEPLOYMENT: Final = Resource("apps", "v1", "Deployment", "deployments")
CONTROLLER_REVISION: Final = Resource("apps", "v1", "ControllerRevision", "controllerrevisions")
ENDPOINT_SLICE: Final = Resource("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
ROLE: Final = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING: Final = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
POD_DISRUPTION_BUDGET: Final = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
HORIZONTAL_POD_AUTOSCALER: Final = Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
NETWORK_POLICY: Final = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
LEASE: Final = Resource("coordination.k8s.io", "v1", "Lease", "leases")
EVENT: Final = Resource("events.k8s.io", "v1", "Event", "events")
CORE_EVENT: Final = Resource("", "v1", "Event", "events")

BY_KIND: Final = {
    resource.kind: resource
    for resource in (
        PIPELINE, PIPELINE_RUN, MODEL_DEPLOYMENT, MODEL_GRAPH, MODEL_RUNTIME, APPROVAL,
        POD, SERVICE, CONFIG_MAP, SECRET, SERVICE_ACCOUNT, PERSISTENT_VOLUME_CLAIM, JOB, DEPLOYMENT,
        CONTROLLER_REVISION, ENDPOINT_SLICE, ROLE, ROLE_BINDING, POD_DISRUPTION_BUDGET, HORIZONTAL_POD_AUTOSCALER,
        NETWORK_POLICY, LEASE,
    )
}  # fmt: skip
"""Kinds by name; `Event` is left out because two groups have it."""
