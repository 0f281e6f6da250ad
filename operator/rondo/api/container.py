"""The one container block: the same fields in job stages, servers and runtimes.

It is a curated subset of core/v1 (the whole PodTemplateSpec would add 500 kB to each CRD), with `podTemplate` as an
overlay for everything else. Objects that are passed on unread, such as a volume's source, keep core/v1's own shape.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rondo.api.base import AnyObject, IntOrString, Model, named_list, rule, rules

Argument = Annotated[str, Field(max_length=16384)]


class SecretKey(Model):
    """A key of a Secret of the same namespace."""

    name: Annotated[str, Field(max_length=253, description="Name of the Secret.")]
    key: Annotated[str, Field(max_length=253, description="Key within it.")]
    optional: Annotated[bool, Field(description="Start also where Secret or key is missing.")] = False


class ConfigMapKey(Model):
    """A key of a ConfigMap of the same namespace."""

    name: Annotated[str, Field(max_length=253, description="Name of the ConfigMap.")]
    key: Annotated[str, Field(max_length=253, description="Key within it.")]
    optional: Annotated[bool, Field(description="Start also where ConfigMap or key is missing.")] = False


class FieldPath(Model):
    """A field of the pod, as in core/v1."""

    field_path: Annotated[str, Field(max_length=253, description="Such as `metadata.name` or `status.podIP`.")]
    api_version: Annotated[str | None, Field(max_length=64, description="API version of the path; v1.")] = None


class ContainerResource(Model):
    """A resource of the container, as in core/v1."""

    resource: Annotated[str, Field(max_length=253, description="Such as `limits.memory`.")]
    container_name: Annotated[str | None, Field(max_length=63, description="Default: this container.")] = None
    divisor: Annotated[IntOrString | None, Field(description="Unit of the value.")] = None


class EnvSource(Model):
    """Where a variable's value comes from; exactly one."""

    model_config = {
        "json_schema_extra": rules(
            rule(
                "[has(self.secretKeyRef), has(self.configMapKeyRef), has(self.fieldRef), has(self.resourceFieldRef)]"
                ".filter(x, x).size() == 1",
                "give exactly one of secretKeyRef, configMapKeyRef, fieldRef, resourceFieldRef",
            )
        )
    }

    secret_key_ref: Annotated[SecretKey | None, Field(description="A key of a Secret.")] = None
    config_map_key_ref: Annotated[ConfigMapKey | None, Field(description="A key of a ConfigMap.")] = None
    field_ref: Annotated[FieldPath | None, Field(description="A field of the pod.")] = None
    resource_field_ref: Annotated[ContainerResource | None, Field(description="A resource of the container.")] = None


class EnvVar(Model):
    """An environment variable."""

    model_config = {
        "json_schema_extra": rules(
            rule("!(has(self.value) && has(self.valueFrom))", "give either value or valueFrom", path=".valueFrom"),
        )
    }

    name: Annotated[str, Field(min_length=1, max_length=253, description="Name of the variable.")]
    value: Annotated[
        str | None,
        Field(max_length=32768, description="Its value; references such as `$(params.x)` are replaced."),
    ] = None
    value_from: Annotated[EnvSource | None, Field(description="Where the value comes from, instead of `value`.")] = None


class NamedRef(Model):
    """An object of the same namespace, by name."""

    name: Annotated[str, Field(max_length=253, description="Name of the object.")]
    optional: Annotated[bool, Field(description="Start also where it is missing.")] = False


class SecretName(Model):
    """A Secret of the same namespace, which has to be there."""

    name: Annotated[str, Field(min_length=1, max_length=253, description="Name of the Secret.")]


class Credentials(Model):
    """Access to a store, by a Secret with the keys that all tools know."""

    secret_ref: Annotated[
        SecretName,
        Field(
            description="Its keys become variables of fetch and push alone: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, "
            "AWS_ENDPOINT_URL, AWS_REGION, AWS_CA_BUNDLE."
        ),
    ]


class EnvFrom(Model):
    """All keys of a ConfigMap or Secret as variables."""

    model_config = {
        "json_schema_extra": rules(
            rule("has(self.configMapRef) != has(self.secretRef)", "give exactly one of configMapRef and secretRef"),
        )
    }

    prefix: Annotated[str, Field(max_length=253, description="Put before each key.")] = ""
    config_map_ref: Annotated[NamedRef | None, Field(description="A ConfigMap.")] = None
    secret_ref: Annotated[NamedRef | None, Field(description="A Secret.")] = None


class Port(Model):
    """A port that the container listens on."""

    name: Annotated[str, Field(min_length=1, max_length=15, description="Name of the port.")]
    container_port: Annotated[int, Field(ge=1, le=65535, description="Number of the port.")]


class Resources(Model):
    """What the container asks for and may use. Accelerators stand in `limits`, such as `nvidia.com/gpu: 1`."""

    requests: Annotated[dict[str, IntOrString], Field(max_length=16, description="Asked for when scheduling.")] = {}
    limits: Annotated[dict[str, IntOrString], Field(max_length=16, description="May not be exceeded.")] = {}


class VolumeMount(Model):
    """Where a volume appears in the container."""

    name: Annotated[str, Field(max_length=63, description="Name of the volume.")]
    mount_path: Annotated[str, Field(max_length=1024, description="Absolute path in the container.")]
    sub_path: Annotated[str | None, Field(max_length=1024, description="Path within the volume.")] = None
    read_only: Annotated[bool, Field(description="Mount it read-only.")] = False


class Toleration(Model):
    """A taint of nodes that the pod tolerates, as in core/v1."""

    key: Annotated[str | None, Field(max_length=316, description="Key of the taint; without it any.")] = None
    operator: Annotated[str | None, Field(max_length=16, description="`Exists` or `Equal`.")] = None
    value: Annotated[str | None, Field(max_length=63, description="Value of the taint, for Equal.")] = None
    effect: Annotated[
        str | None,
        Field(max_length=32, description="NoSchedule, PreferNoSchedule or NoExecute; without it any."),
    ] = None
    toleration_seconds: Annotated[int | None, Field(description="For NoExecute: how long to stay.")] = None


class PullSecret(Model):
    """A Secret with credentials for an image registry."""

    name: Annotated[str, Field(max_length=253, description="Name of the Secret.")]


class Container(Model):
    """A container and what its pod needs."""

    image: Annotated[str | None, Field(max_length=1024, description="Image; default: `spec.defaults.image`.")] = None
    command: Annotated[
        list[Argument] | None,
        Field(max_length=256, description="Entrypoint; references are replaced. Default: the image's."),
    ] = None
    args: Annotated[
        list[Argument] | None,
        Field(max_length=1024, description="Arguments; references are replaced. Default: the image's."),
    ] = None
    env: Annotated[
        list[EnvVar],
        Field(max_length=256, json_schema_extra=named_list(), description="Environment variables."),
    ] = []
    env_from: Annotated[
        list[EnvFrom], Field(max_length=32, description="ConfigMaps and Secrets whose keys become variables.")
    ] = []
    ports: Annotated[list[Port], Field(max_length=16, json_schema_extra=named_list(), description="Ports.")] = []
    resources: Annotated[Resources, Field(description="Requests and limits.")] = Resources()
    volumes: Annotated[
        list[AnyObject],
        Field(max_length=64, description="Volumes of the pod, as in core/v1: a `name` and one source each."),
    ] = []
    volume_mounts: Annotated[list[VolumeMount], Field(max_length=64, description="Where volumes appear.")] = []
    shm: Annotated[
        IntOrString | None,
        Field(description="Size of /dev/shm, such as `8Gi`; data loaders of PyTorch need it."),
    ] = None
    node_selector: Annotated[
        dict[str, Annotated[str, Field(max_length=63)]],
        Field(max_length=32, description="Labels a node must have."),
    ] = {}
    tolerations: Annotated[list[Toleration], Field(max_length=32, description="Taints that are tolerated.")] = []
    service_account_name: Annotated[
        str | None,
        Field(max_length=253, description="Runs as this ServiceAccount; its token is mounted only then."),
    ] = None
    image_pull_secrets: Annotated[
        list[PullSecret],
        Field(max_length=16, json_schema_extra=named_list(), description="Registry credentials."),
    ] = []
    priority_class_name: Annotated[str | None, Field(max_length=253, description="PriorityClass of the pod.")] = None
    pod_template: Annotated[
        AnyObject | None,
        Field(
            description="Overlay on the pod template (`metadata`, `spec`), merged as `kubectl patch` does: "
            "lists with names by name. The main container is called `main`."
        ),
    ] = None


class ServingContainer(Container):
    """A container that answers requests: the container block with its readiness."""

    readiness_probe: Annotated[
        AnyObject | None,
        Field(description="When it can answer, as in core/v1; for a model server: model loaded."),
    ] = None
