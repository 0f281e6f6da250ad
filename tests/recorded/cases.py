"""The troubles that are recorded: for each, what is applied, and when the pod's status says it.

A case makes one object, a Pod or a Job, in a namespace of its own. Its record is the pod (if one came to be) and the
Events about it and its Job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

Object: TypeAlias = dict[str, Any]

IMAGE: Final = "IMAGE"
"""Stands for an image that is on the node."""

CONTAINER: Final[Object] = {"name": "main", "image": IMAGE, "command": ["sleep", "600"]}


@dataclass(frozen=True)
class Seen:
    """What there is to see of a case so far.

    Attributes:
        pod: The pod as it is or, when it is gone, as it was last; empty before there is one.
        events: Events about the pod and its Job, oldest first.
    """

    pod: Object
    events: Sequence[Object]

    @property
    def status(self) -> Object:
        found: Object = self.pod.get("status", {})
        return found

    def states(self) -> list[Object]:
        kinds = ("initContainerStatuses", "containerStatuses")
        return [status["state"] for kind in kinds for status in self.status.get(kind, [])]

    def condition(self, type_: str) -> Object:
        return next((c for c in self.status.get("conditions", []) if c["type"] == type_), {})


Told: TypeAlias = Callable[[Seen], bool]


@dataclass(frozen=True)
class Case:
    """One trouble.

    Attributes:
        pod: The pod's spec.
        told: Whether the status (or an Event) says it.
        job: Make the pod by a Job.
        before: Objects that have to be there, applied in this order.
        meanwhile: What is done to the cluster once the pod runs; a key of the recorder's actions.
    """

    pod: Object
    told: Told
    job: bool = False
    before: Sequence[Object] = field(default_factory=list)
    meanwhile: str = ""


def waiting(*reasons: str) -> Told:
    """A container waits for one of these reasons."""
    return lambda seen: any(state.get("waiting", {}).get("reason") in reasons for state in seen.states())


def ended(seen: Seen) -> bool:
    """The pod has failed."""
    return bool(seen.status.get("phase") == "Failed")


def warned(*reasons: str) -> Told:
    """An Event was written for one of these reasons."""
    return lambda seen: any(event.get("reason") in reasons for event in seen.events)


def unscheduled(seen: Seen) -> bool:
    return seen.condition("PodScheduled").get("status") == "False"


def disrupted(seen: Seen) -> bool:
    return bool(seen.condition("DisruptionTarget"))


def silent(seen: Seen) -> bool:
    """The node controller has taken back that the pod is ready, though its containers are, as the kubelet last said."""
    conditions = {type_: seen.condition(type_).get("status") for type_ in ("Ready", "ContainersReady")}
    return conditions == {"Ready": "False", "ContainersReady": "True"}


def spec(*, container: Object | None = None, **more: Any) -> Object:
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": 1,
        "containers": [CONTAINER | (container or {})],
        **more,
    }


def requests(**amounts: str) -> Object:
    return {"resources": {"requests": {name.replace("_", "/"): amount for name, amount in amounts.items()}}}


def shell(script: str, **more: Any) -> Object:
    return {"command": ["sh", "-c", script], "terminationMessagePolicy": "FallbackToLogsOnError", **more}


def init(**container: Any) -> Object:
    return {"initContainers": [CONTAINER | {"name": "fetch"} | container]}


def mounted(volume: Object, **mount: Any) -> Object:
    container = {"volumeMounts": [{"name": "v", "mountPath": "/v", **mount}]}
    return spec(container=container, volumes=[{"name": "v", **volume}])


def claimed(name: str) -> Object:
    return mounted({"persistentVolumeClaim": {"claimName": name}})


def from_secret(name: str, key: str) -> Object:
    return {"env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}]}


def affinity(kind: str, **term: Any) -> Object:
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": term or None}}}


OOM: Final = shell("x=a; while :; do x=$x$x; done", resources={"limits": {"memory": "32Mi"}})
BUSY_PORT: Final = {"ports": [{"containerPort": 81, "hostPort": 8181}]}
LABELS: Final = {"app": "recorded"}
NODE_TERMS: Final = [{"matchExpressions": [{"key": "zone", "operator": "In", "values": ["nowhere"]}]}]


def named(kind: str, name: str, version: str = "v1", **content: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **content}


OTHER_POD: Final = named("Pod", "other", spec=spec(container=BUSY_PORT))
LOW: Final = named("PriorityClass", "low", "scheduling.k8s.io/v1", value=-10)
HIGH: Final = named("PriorityClass", "high", "scheduling.k8s.io/v1", value=1000)
URGENT: Final = named("Pod", "urgent", spec=spec(container=requests(cpu="1500m"), priorityClassName="high"))
EMPTY_SECRET: Final = named("Secret", "store", data={})
ENFORCED: Final = "pod-security.kubernetes.io/enforce"
UNBOUND: Final = named(
    "PersistentVolumeClaim",
    "unbound",
    spec={
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
        "storageClassName": "nosuch",
    },
)
QUOTA: Final = named("ResourceQuota", "small", spec={"hard": {"requests.memory": "1Mi"}})
PODS_QUOTA: Final = named("ResourceQuota", "no-pods", spec={"hard": {"pods": "0"}})
LIMITS: Final = named("LimitRange", "narrow", spec={"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]})
WITH_MEMORY: Final = {"resources": {"requests": {"memory": "64Mi"}, "limits": {"memory": "64Mi"}}}
SIGTERM_IS_HEARD: Final = "trap 'exit 143' TERM; sleep 600 & wait"

CASES: Final[dict[str, Case]] = {
    # No node takes it.
    "unschedulable-cpu": Case(spec(container=requests(cpu="500")), unscheduled),
    "unschedulable-memory": Case(spec(container=requests(memory="500Ti")), unscheduled),
    "unschedulable-gpu": Case(spec(container={"resources": {"limits": {"nvidia.com/gpu": "1"}}}), unscheduled),
    "unschedulable-node-selector": Case(spec(nodeSelector={"zone": "nowhere"}), unscheduled),
    "unschedulable-affinity": Case(spec(**affinity("nodeAffinity", nodeSelectorTerms=NODE_TERMS)), unscheduled),
    "unschedulable-pod-affinity": Case(
        spec(
            affinity={
                "podAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"labelSelector": {"matchLabels": {"app": "nosuch"}}, "topologyKey": "kubernetes.io/hostname"}
                    ]
                }
            }
        ),
        unscheduled,
    ),
    "unschedulable-cordoned": Case(spec(), unscheduled, meanwhile="cordon"),
    "unschedulable-taint": Case(spec(), unscheduled, meanwhile="taint"),
    "unschedulable-port": Case(spec(container=BUSY_PORT), unscheduled, before=[OTHER_POD]),
    "unschedulable-claim-missing": Case(claimed("nosuch"), unscheduled),
    "unschedulable-claim-unbound": Case(claimed("unbound"), unscheduled, before=[UNBOUND]),
    "unschedulable-gated": Case(spec(schedulingGates=[{"name": "example.com/wait"}]), unscheduled),
    # No image.
    "image-unreachable": Case(spec(container={"image": "nosuch.invalid/x:1"}), waiting("ErrImagePull")),
    "image-back-off": Case(spec(container={"image": "nosuch.invalid/x:1"}), waiting("ImagePullBackOff")),
    "image-name": Case(spec(container={"image": "Not An Image"}), waiting("InvalidImageName")),
    "image-never-pulled": Case(
        spec(container={"image": "nosuch.invalid/x:1", "imagePullPolicy": "Never"}), waiting("ErrImageNeverPull")
    ),
    # The spec asks for what is not there or not allowed.
    "config-secret-missing": Case(
        spec(container=from_secret("nosuch", "token")), waiting("CreateContainerConfigError")
    ),
    "config-secret-key": Case(
        spec(container=from_secret("store", "token")), waiting("CreateContainerConfigError"), before=[EMPTY_SECRET]
    ),
    "config-map-missing": Case(
        spec(container={"envFrom": [{"configMapRef": {"name": "nosuch"}}]}), waiting("CreateContainerConfigError")
    ),
    "config-root": Case(
        spec(container={"securityContext": {"runAsNonRoot": True, "runAsUser": 0}}),
        waiting("CreateContainerConfigError"),
    ),
    "config-sub-path": Case(
        mounted({"configMap": {"name": "kube-root-ca.crt"}}, subPath="ca.crt/x"),
        waiting("CreateContainerConfigError", "CreateContainerError"),
    ),
    "config-command": Case(spec(container={"command": ["/nosuch"]}), ended),
    "config-directory": Case(
        spec(container={"workingDir": "/etc/passwd"}),
        lambda seen: ended(seen) or waiting("CreateContainerError", "RunContainerError")(seen),
    ),
    "config-post-start": Case(
        spec(container={"lifecycle": {"postStart": {"exec": {"command": ["/nosuch"]}}}}),
        lambda seen: ended(seen) or warned("FailedPostStartHook")(seen),
    ),
    # Init containers.
    "init-exit": Case(spec(**init(**shell("echo no such input >&2; exit 1"))), ended),
    "init-memory": Case(spec(**init(**OOM)), ended),
    "init-image": Case(spec(**init(image="nosuch.invalid/x:1")), waiting("ErrImagePull")),
    "init-command": Case(spec(**init(command=["/nosuch"])), ended),
    "init-runs": Case(spec(**init()), lambda seen: any("running" in state for state in seen.states())),
    # The program.
    "exit-code": Case(spec(container=shell("echo what went wrong >&2; exit 3")), ended),
    "exit-silent": Case(spec(container=shell("exit 1")), ended),
    "exit-by-signal": Case(spec(container=shell("exit 137")), ended),
    "memory": Case(spec(container=OOM), ended),
    "memory-of-child": Case(
        spec(
            container=shell("sh -c 'x=a; while :; do x=$x$x; done'; exit 7", resources={"limits": {"memory": "32Mi"}})
        ),
        ended,
    ),
    "crash-loop": Case(spec(container=shell("exit 2"), restartPolicy="OnFailure"), waiting("CrashLoopBackOff")),
    "not-ready": Case(
        spec(container={"readinessProbe": {"exec": {"command": ["false"]}, "periodSeconds": 1}}), warned("Unhealthy")
    ),
    "deadline": Case(spec(activeDeadlineSeconds=2), ended),
    # The cluster takes it away.
    "evicted-disk": Case(
        spec(
            container=shell("head -c 20000000 /dev/zero > /v/x; sleep 600")
            | {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            volumes=[{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}],
        ),
        ended,
    ),
    "evicted-api": Case(spec(container=shell(SIGTERM_IS_HEARD)), disrupted, meanwhile="evict"),
    "preempted": Case(
        spec(container=shell(SIGTERM_IS_HEARD) | requests(cpu="1500m"), priorityClassName="low"),
        disrupted,
        before=[LOW, HIGH],
        meanwhile="preempt",
    ),
    "node-refuses-cpu": Case(spec(container=requests(cpu="500"), nodeName="NODE"), ended),
    "node-refuses-selector": Case(spec(nodeSelector={"zone": "nowhere"}, nodeName="NODE"), ended),
    "node-tainted": Case(spec(container=shell(SIGTERM_IS_HEARD)), disrupted, meanwhile="evacuate"),
    "node-silent": Case(spec(), silent, meanwhile="silence-node"),
    "node-deleted": Case(spec(), disrupted, meanwhile="delete-node"),
    # Volumes.
    "volume-secret": Case(mounted({"secret": {"secretName": "nosuch"}}), warned("FailedMount")),
    "volume-config-map": Case(mounted({"configMap": {"name": "nosuch"}}), warned("FailedMount")),
    "volume-host-path": Case(mounted({"hostPath": {"path": "/nosuch", "type": "Directory"}}), warned("FailedMount")),
    "volume-driver": Case(mounted({"csi": {"driver": "nosuch.example.com"}}), warned("FailedMount")),
    # No pod is made at all: what the Job's Events say.
    "quota-memory": Case(spec(container=WITH_MEMORY), warned("FailedCreate"), job=True, before=[QUOTA]),
    "quota-unstated": Case(spec(), warned("FailedCreate"), job=True, before=[QUOTA]),
    "quota-pods": Case(spec(), warned("FailedCreate"), job=True, before=[PODS_QUOTA]),
    "limit-range": Case(spec(container=WITH_MEMORY), warned("FailedCreate"), job=True, before=[LIMITS]),
    "pod-security": Case(
        spec(container={"securityContext": {"privileged": True}}),
        warned("FailedCreate"),
        job=True,
        meanwhile="restrict",
    ),
    "service-account": Case(spec(serviceAccountName="nosuch"), warned("FailedCreate"), job=True),
    "priority-class": Case(spec(priorityClassName="nosuch"), warned("FailedCreate"), job=True),
    "runtime-class": Case(spec(runtimeClassName="nosuch"), warned("FailedCreate"), job=True),
}
